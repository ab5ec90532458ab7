"""Tenants: the share of the workers that each gets, and its quotas. A tenant without limits has a share of one."""

from pydantic import BaseModel, ConfigDict, Field

from rnncore.errors import StorageQuotaExceeded
from services.jobqueue import keys
from services.jobqueue.api_keys import ApiKeys
from services.jobqueue.scripts import RedisScripts


class TenantLimits(BaseModel):
    """What a tenant may take. The claim reads this JSON: its fields are known to _shared.lua, submit.lua and
    put_dataset.lua."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(
        1.0, ge=0.01, le=100, allow_inf_nan=False, description="Share of the workers, against other tenants'."
    )
    max_running: int | None = Field(None, ge=0, le=100_000, description="Workers at once; null: all.")
    max_gpus: int | None = Field(None, ge=0, le=100_000, description="GPUs at once; null: all.")
    max_queued: int | None = Field(None, ge=0, le=10_000_000, description="Jobs ready to start; null: any number.")
    max_storage_bytes: int | None = Field(
        None,
        ge=0,
        le=1 << 53,
        description="Bytes of data sets and checkpoints; null: any number. At the limit nothing new is taken, "
        "what runs goes on.",
    )


class Tenant(TenantLimits):
    """One tenant: its limits, and what it has now."""

    id: str
    object: str = "tenant"
    running: int = Field(0, description="Workers it has now.")
    gpus: float = Field(0, description="GPUs it has now, shares of some included.")
    queued: int = Field(0, description="Jobs ready to start.")
    stored_bytes: int = Field(0, description="Bytes of its data sets and checkpoints.")


class Tenants:
    """The tenants of an installation. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def put(self, tenant: str, limits: TenantLimits) -> None:
        """Sets what the tenant may take from now on; running jobs go on."""
        with self._scripts.faults():
            self._redis.hset(keys.LIMITS, tenant, limits.model_dump_json(exclude_none=True))

    def get(self, tenant: str) -> Tenant:
        """One tenant; one of whom nothing is known has the limits of all."""
        with self._scripts.faults():
            raw = self._redis.hget(keys.LIMITS, tenant)
            workers, gpus = self._redis.hmget(keys.IN_USE, f"workers:{tenant}", f"gpus:{tenant}")
            queued = self._redis.zcard(keys.ready(tenant))
            stored = self._redis.hget(keys.STORED, tenant)
        limits = TenantLimits.model_validate_json(raw or "{}")
        now = {
            "running": int(workers or 0),
            "gpus": float(gpus or 0),
            "queued": queued,
            "stored_bytes": int(stored or 0),
        }
        return Tenant(id=tenant, **now, **limits.model_dump())

    def check_room(self, tenant: str, coming_bytes: int) -> None:
        """Raises StorageQuotaExceeded where the tenant may not store so much more."""
        found = self.get(tenant)
        if found.max_storage_bytes is not None and found.stored_bytes + coming_bytes > found.max_storage_bytes:
            raise storage_quota(tenant, coming_bytes, found.stored_bytes, found.max_storage_bytes)

    def list(self) -> list[Tenant]:
        """Those with a key or with limits, by name."""
        with self._scripts.faults():
            limited = self._redis.hkeys(keys.LIMITS)
        return [self.get(name) for name in sorted({*limited, *(key.tenant for key in ApiKeys(self._scripts).list())})]


def storage_quota(tenant: str, coming: int, stored: int, most: int) -> StorageQuotaExceeded:
    """`coming` bytes more than the `stored` ones are more than `most`."""
    more = f" and sends {coming} more" if coming else ""
    return StorageQuotaExceeded(
        f"tenant {tenant} has {stored} bytes in storage{more}, it may have {most}; delete ended jobs or data sets"
    )
