"""Aliases: names of a tenant's own, each for one model. A model that has one is neither deleted nor trimmed."""

import time

from pydantic import BaseModel, ConfigDict

from rnncore.errors import Conflict, NotFound
from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts

MOST_ALIASES = 1_000


class Alias(BaseModel):
    """A name, and the model that it stands for: `<job>`, `<job>:latest` or `<job>:step-800`."""

    model_config = ConfigDict(frozen=True)

    name: str
    model: str
    created_at: float

    @property
    def job(self) -> str:
        """The job whose model it is."""
        return self.model.partition(":")[0]


class Aliases:
    """The aliases of all tenants. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def put(self, tenant: str, name: str, model: str) -> Alias:
        """Lets `name` stand for `model` from now on. Raises NotFound, and Conflict where there are too many."""
        made = Alias(name=name, model=model, created_at=time.time())
        answer = self._scripts.run("put_alias", tenant, name, *_split(model), made.model_dump_json(), MOST_ALIASES)
        if answer == "missing":
            raise NotFound(f"no model {model!r}; list yours at GET /v1/models", param="model")
        if answer == "full":
            raise Conflict(f"there are {MOST_ALIASES} aliases already; delete one first", param="model_id")
        return made

    def get(self, tenant: str, name: str) -> Alias | None:
        with self._scripts.faults():
            raw = self._redis.hget(keys.aliases(tenant), name)
        return Alias.model_validate_json(raw) if raw else None

    def list(self, tenant: str) -> list[Alias]:
        """Newest first."""
        with self._scripts.faults():
            found = [Alias.model_validate_json(raw) for raw in self._redis.hvals(keys.aliases(tenant))]
        return sorted(found, key=lambda alias: (-alias.created_at, alias.name))

    def delete(self, tenant: str, name: str) -> bool:
        """Whether there was one."""
        with self._scripts.faults():
            return bool(self._redis.hdel(keys.aliases(tenant), name))


def _split(model: str) -> tuple[str, str]:
    """Job and step of a model; no step where the name moves."""
    job, _, which = model.partition(":")
    return job, which.removeprefix("step-") if which.startswith("step-") else ""
