"""The floor: every place for a worker and who sits there, as the dispatcher told last. Knows no Ray.

What was told is gone a few seconds after the dispatcher: then nobody knows.
"""

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts

TOLD_SECONDS = 5

WorkerState = Literal["starting", "idle", "busy"]


class Occupant(BaseModel):
    """A job at a worker. A job of several workers is at each of them."""

    model_config = ConfigDict(frozen=True)

    job: str
    share: float = Field(
        1.0,
        description="The part that it has: of a GPU, or beside trials of a sweep that are trained together with it.",
    )


class Worker(BaseModel):
    """Room for one trainer: a GPU, or a part of a machine's cores."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["worker"] = "worker"
    node: str
    host: str
    kind: Literal["cpu", "gpu"]
    threads: int
    memory_bytes: int
    state: WorkerState = Field(description="starting: its trainer is not there yet. busy: a job has all or part of it.")
    is_drained: bool = Field(False, description="It takes up no jobs.")
    jobs: list[Occupant] = Field(description="Those of your tenant; of all with a key of scope admin.")
    num_jobs: int = Field(description="Jobs of whatever tenant that are at it.")
    utilisation: float = Field(description="Share of about the last five minutes that jobs had it.")


_WORKERS = TypeAdapter(list[Worker])


def publish_workers(scripts: RedisScripts, workers: Sequence[Worker]) -> None:
    """Tells of all workers there are. What was told before is only kept alive, for each write goes to the disk."""
    told = _WORKERS.dump_json(list(workers)).decode()
    with scripts.faults():
        if scripts.redis.get(keys.WORKERS) == told:
            scripts.redis.expire(keys.WORKERS, TOLD_SECONDS)
        else:
            scripts.redis.set(keys.WORKERS, told, ex=TOLD_SECONDS)


class Floor:
    """What the dispatcher told. Raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def workers(self, tenant: str | None) -> list[Worker]:
        """All workers by host, with the jobs of `tenant` alone unless it is None; none while no dispatcher tells."""
        with self._scripts.faults():
            raw = self._redis.get(keys.WORKERS)
            own = self._redis.smembers(keys.running(tenant)) if tenant is not None else set()
        found = [Worker.model_validate(told) for told in json.loads(raw or "[]")]
        found.sort(key=lambda worker: (worker.host, worker.id))
        return found if tenant is None else [_seen_by(worker, own) for worker in found]


def _seen_by(worker: Worker, own: set[str]) -> Worker:
    return worker.model_copy(update={"jobs": [one for one in worker.jobs if one.job in own]})
