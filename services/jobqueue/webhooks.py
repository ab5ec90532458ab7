"""Webhooks: where a tenant wants to be told that a job has ended, and what is still to be told."""

import hashlib
import secrets
import time
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from rnncore.errors import Conflict, NotFound
from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts

MOST_WEBHOOKS = 10
# Seconds until the next try after each that failed; after the last the message is given up.
PAUSES = (5, 60, 300, 1800, 7200, 18_000, 36_000)
_UNANSWERED_SECONDS = 60


class Webhook(BaseModel):
    """A URL that is posted to when a job of the tenant ends."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    created_at: float


class Delivery(NamedTuple):
    """One message to one webhook. `id` is the same at every try, so that a receiver can tell a repetition."""

    member: str
    tenant: str
    webhook: str
    job: str
    state: str

    @property
    def id(self) -> str:
        return f"msg_{hashlib.sha256(self.member.encode()).hexdigest()[:32]}"


class Webhooks:
    """The webhooks of all tenants. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def create(self, tenant: str, url: str) -> Webhook:
        """Raises Conflict where the tenant has as many as it may."""
        if len(self.list(tenant)) >= MOST_WEBHOOKS:
            raise Conflict(f"there are {MOST_WEBHOOKS} webhooks already; delete one first", param="url")
        made = Webhook(id=f"wh-{secrets.token_hex(8)}", url=url, created_at=time.time())
        with self._scripts.faults():
            self._redis.hset(keys.webhooks(tenant), made.id, made.model_dump_json())
        return made

    def get(self, tenant: str, webhook_id: str) -> Webhook | None:
        with self._scripts.faults():
            raw = self._redis.hget(keys.webhooks(tenant), webhook_id)
        return Webhook.model_validate_json(raw) if raw else None

    def delete(self, tenant: str, webhook_id: str) -> None:
        """Nothing more is told there. Raises NotFound."""
        with self._scripts.faults():
            if not self._redis.hdel(keys.webhooks(tenant), webhook_id):
                raise NotFound(f"no webhook {webhook_id}; list yours at GET /v1/webhooks", param="webhook_id")

    def due(self, limit: int = 20) -> list[Delivery]:
        """Messages whose time has come; each is due again in a minute unless it is done or put off before."""
        members = self._scripts.run("due", limit, _UNANSWERED_SECONDS * 1000)
        return [Delivery(member, *member.split(" ")[:4]) for member in members]

    def done(self, delivery: Delivery) -> None:
        """The message has arrived, or nobody wants it any more."""
        with self._scripts.faults(), self._redis.pipeline() as both:
            both.zrem(keys.OUTBOX, delivery.member)
            both.hdel(keys.OUTBOX_TRIES, delivery.member)
            both.execute()

    def put_off(self, delivery: Delivery) -> bool:
        """The message did not arrive; whether it will be tried again."""
        with self._scripts.faults():
            tries = self._redis.hincrby(keys.OUTBOX_TRIES, delivery.member, 1)
            if tries > len(PAUSES):
                self.done(delivery)
                return False
            self._redis.zadd(keys.OUTBOX, {delivery.member: (time.time() + PAUSES[tries - 1]) * 1000}, xx=True)
        return True

    def list(self, tenant: str) -> list[Webhook]:
        """Newest first."""
        with self._scripts.faults():
            found = [Webhook.model_validate_json(raw) for raw in self._redis.hvals(keys.webhooks(tenant))]
        return sorted(found, key=lambda webhook: -webhook.created_at)
