"""ApiKeys: who is let in, what each key may do, and how often. A key itself is never stored, only its HMAC."""

import secrets
import time
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from rnncore.errors import Conflict, NotFound
from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts


class Scope(StrEnum):
    READ = "read"
    TRAIN = "train"
    SAMPLE = "sample"
    ADMIN = "admin"


class ApiKey(BaseModel):
    """What one API key may do. Times in Unix seconds."""

    model_config = ConfigDict(frozen=True)

    id: str
    tenant: str
    name: str | None = None
    scopes: tuple[Scope, ...] = tuple(Scope)
    created_at: float = 0.0
    expires_at: float | None = None
    requests_per_minute: int | None = None

    @property
    def is_live(self) -> bool:
        return self.expires_at is None or time.time() < self.expires_at


class ApiKeys:
    """The keys of all tenants. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def put(self, digest: str, key: ApiKey) -> None:
        """Lets the key whose HMAC is `digest` in."""
        with self._scripts.faults(), self._redis.pipeline() as both:
            both.hset(keys.API_KEYS, digest, key.model_dump_json())
            both.hset(keys.API_KEY_IDS, key.id, digest)
            both.execute()

    def put_first(self, digest: str, key: ApiKey) -> None:
        """As `put`, once for each digest: a first key that was revoked does not come back with the next start."""
        with self._scripts.faults():
            is_known = self._redis.get(keys.FIRST_KEY) == digest
        if not is_known:
            self.put(digest, key)
            with self._scripts.faults():
                self._redis.set(keys.FIRST_KEY, digest)

    def find(self, digest: str) -> ApiKey | None:
        """What the key whose HMAC is `digest` may do; None for one unknown, revoked or expired."""
        with self._scripts.faults():
            raw = self._redis.hget(keys.API_KEYS, digest)
        key = ApiKey.model_validate_json(raw) if raw else None
        return key if key and key.is_live else None

    def get(self, key_id: str) -> ApiKey | None:
        """As `find`, by the id."""
        with self._scripts.faults():
            digest = self._redis.hget(keys.API_KEY_IDS, key_id)
        return self.find(digest) if digest else None

    def list(self) -> list[ApiKey]:
        """All that were not revoked, expired ones too, newest first."""
        with self._scripts.faults():
            found = [ApiKey.model_validate_json(raw) for raw in self._redis.hvals(keys.API_KEYS)]
        return sorted(found, key=lambda key: (-key.created_at, key.id))

    def revoke(self, key_id: str) -> None:
        """Lets the key in no more. Raises NotFound, and Conflict for the last one that may make others."""
        known = self.list()
        if key_id not in (key.id for key in known):
            raise NotFound(f"no key {key_id}; list them at GET /v1/keys", param="key_id")
        if not any(key.is_live and Scope.ADMIN in key.scopes for key in known if key.id != key_id):
            raise Conflict(f"{key_id} is the last key with scope admin; make another one first", param="key_id")
        with self._scripts.faults():
            digest = self._redis.hget(keys.API_KEY_IDS, key_id)
            with self._redis.pipeline() as both:
                both.hdel(keys.API_KEYS, digest)
                both.hdel(keys.API_KEY_IDS, key_id)
                both.execute()

    def wait_seconds(self, key: ApiKey) -> float:
        """0 where the key may ask now, and the request counts; else how long it has to wait."""
        if key.requests_per_minute is None:
            return 0.0
        wait_ms: int = self._scripts.run("allow", key.id, key.requests_per_minute)
        return wait_ms / 1000


def new_key_id() -> str:
    return f"key-{secrets.token_hex(8)}"
