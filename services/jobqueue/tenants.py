"""Tenants: the share of the workers that each gets, and its quotas. A tenant without limits has a share of one."""

from pydantic import BaseModel, ConfigDict, Field

from services.jobqueue import keys
from services.jobqueue.api_keys import ApiKeys
from services.jobqueue.scripts import RedisScripts


class TenantLimits(BaseModel):
    """What a tenant may take. The claim reads this JSON: its fields are known to _shared.lua and submit.lua."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(
        1.0, ge=0.01, le=100, allow_inf_nan=False, description="Share of the workers, against other tenants'."
    )
    max_running: int | None = Field(None, ge=0, le=100_000, description="Workers at once; null: all.")
    max_gpus: int | None = Field(None, ge=0, le=100_000, description="GPUs at once; null: all.")
    max_queued: int | None = Field(None, ge=0, le=10_000_000, description="Jobs ready to start; null: any number.")


class Tenant(TenantLimits):
    """One tenant: its limits, and what it has now."""

    id: str
    object: str = "tenant"
    running: int = Field(0, description="Workers it has now.")
    gpus: float = Field(0, description="GPUs it has now, shares of some included.")
    queued: int = Field(0, description="Jobs ready to start.")


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
        limits = TenantLimits.model_validate_json(raw or "{}")
        return Tenant(id=tenant, running=int(workers or 0), gpus=float(gpus or 0), queued=queued, **limits.model_dump())

    def list(self) -> list[Tenant]:
        """Those with a key or with limits, by name."""
        with self._scripts.faults():
            limited = self._redis.hkeys(keys.LIMITS)
        return [self.get(name) for name in sorted({*limited, *(key.tenant for key in ApiKeys(self._scripts).list())})]
