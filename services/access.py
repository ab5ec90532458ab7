"""Who may come in, and to do what: API keys, their scopes and their rate. Knows no HTTP library."""

import hashlib
import hmac
import re
import secrets
import time

from rnncore.errors import Forbidden, TooManyRequests
from services.jobqueue.api_keys import ApiKey, ApiKeys, Scope, new_key_id
from services.settings import Settings, private_value

KEY_PREFIX = "unroll-"
DEFAULT_TENANT = "default"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_SAMPLING = ("/v1/completions", "/v1/predict", "/v1/inspect")
_FOR_ADMINS = re.compile(r"/v1/(keys|tenants)(/|$)")


class Access:
    """Tells what an API key may do, and makes and revokes keys."""

    def __init__(self, keys: ApiKeys, secret: bytes) -> None:
        self._keys = keys
        self._secret = secret

    def check(self, key: str) -> ApiKey | None:
        """What `key` may do; None for one that is not, or no longer, valid. Raises Unavailable."""
        # The queue finds a digest, not a key: comparing it gives nothing away about keys that exist.
        return self._keys.find(key_digest(self._secret, key))

    def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """As `check`, for who showed the key before and now shows a session."""
        key = self._keys.get(key_id)
        return key if key and key.tenant == tenant else None

    def admit(self, key: ApiKey, method: str, path: str) -> None:
        """Raises Forbidden where the key lacks the scope of a request, TooManyRequests where it asks too often."""
        needed = scope_of(method, path)
        if needed not in key.scopes:
            has = ", ".join(key.scopes)
            raise Forbidden(f"this key has the scopes {has}; {method} {path[:100]} needs {needed}")
        if wait := self._keys.wait_seconds(key):
            raise TooManyRequests(
                f"this key may ask {key.requests_per_minute} times a minute; the next time in {wait:.1f} s",
                retry_after=wait,
            )

    def create(self, key: ApiKey) -> tuple[ApiKey, str]:
        """A new key that may do what `key` says; its text is answered here and never again."""
        made = key.model_copy(update={"id": new_key_id(), "created_at": time.time()})
        text = KEY_PREFIX + secrets.token_hex(32)
        self._keys.put(key_digest(self._secret, text), made)
        return made, text

    def list(self) -> list[ApiKey]:
        """All keys that were not revoked, newest first."""
        return self._keys.list()

    def revoke(self, key_id: str) -> None:
        """Lets a key in no more, from its next request on. Raises NotFound, Conflict."""
        self._keys.revoke(key_id)

    def admit_first_key(self, settings: Settings) -> None:
        """Lets in the key in UNROLL_HOME/api_key, which is made if there is none."""
        text = private_value(settings.root / "api_key", prefix=KEY_PREFIX)
        first = ApiKey(id="first", tenant=DEFAULT_TENANT, name="UNROLL_HOME/api_key", created_at=time.time())
        self._keys.put_first(key_digest(self._secret, text), first)


def scope_of(method: str, path: str) -> Scope:
    """What a key must be allowed for a request."""
    if _FOR_ADMINS.match(path):
        return Scope.ADMIN
    if path in _SAMPLING:
        return Scope.SAMPLE
    return Scope.READ if method in SAFE_METHODS else Scope.TRAIN


def key_digest(secret: bytes, key: str) -> str:
    """What is stored of an API key."""
    return hmac.new(secret, b"api-key:" + key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def sampler_token(secret: bytes) -> str:
    """What the public process shows to the sampler; nobody else can make it."""
    return hmac.new(secret, b"sampler", hashlib.sha256).hexdigest()
