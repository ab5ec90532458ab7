"""The line: what waits, what runs and what was set aside, of one tenant or of all. Changes nothing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.jobqueue import keys
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord, JobState, Placement, Progress, QueuePlace
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits

MOST_SHOWN = 200
_MOST_READ = 1000
_FEWEST_OF_A_TENANT = 10


class JobInLine(BaseModel):
    """An unfinished job as far as the line is concerned. Times in Unix seconds."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["job_in_line"] = "job_in_line"
    tenant: str
    name: str | None
    state: JobState
    priority: int
    num_workers: int = Field(description="Workers that it asks for.")
    created_at: float
    started_at: float | None
    progress: Progress
    queue: QueuePlace | None
    placement: Placement | None


class Line(BaseModel):
    """Unfinished jobs: the next to start first, then those that run, then those that their owners set aside."""

    model_config = ConfigDict(frozen=True)

    object: Literal["queue"] = "queue"
    waiting: list[JobInLine] = Field(description=f"By position; {MOST_SHOWN} at most.")
    running: list[JobInLine] = Field(description=f"The newest first; {MOST_SHOWN} at most.")
    paused: list[JobInLine] = Field(description=f"The newest first; {MOST_SHOWN} at most.")
    num_waiting: int
    num_running: int


class Lines:
    """Reads the line. Raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts, queue: JobQueue) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._queue = queue

    def read(self, tenant: str | None) -> Line:
        """The line of `tenant`, or of all where it is None. However many wait, only those that are shown are read."""
        with self._scripts.faults():
            ready, num_ready = self._ready(tenant)
            leases = self._redis.zrange(keys.LEASES, 0, _MOST_READ - 1)
            running = leases if tenant is None else list(self._redis.smembers(keys.running(tenant)))
            backoff = self._own(self._redis.zrange(keys.BACKOFF, 0, _MOST_READ - 1), tenant)
            paused = self._own(self._redis.zrange(keys.PAUSED, 0, _MOST_READ - 1, desc=True), tenant)
        shown = [*ready, *backoff[:MOST_SHOWN], *running[:MOST_SHOWN], *paused[:MOST_SHOWN]]
        jobs = [_in_line(job) for job in self._records(shown)]
        return Line(
            waiting=sorted((job for job in jobs if job.queue is not None), key=_position)[:MOST_SHOWN],
            running=_newest(job for job in jobs if job.state in (JobState.RUNNING, JobState.PAUSING)),
            paused=_newest(job for job in jobs if job.state == JobState.PAUSED),
            num_waiting=num_ready + len(backoff),
            num_running=len(running),
        )

    def _ready(self, tenant: str | None) -> tuple[list[str], int]:
        """The ready jobs that start first, about: turns of tenants are their virtual times; and how many there are."""
        times = dict(self._redis.zrange(keys.TENANTS, 0, -1, withscores=True))
        names = list(times) if tenant is None else [tenant]
        most = max(_FEWEST_OF_A_TENANT, 2 * MOST_SHOWN // max(1, len(names)))
        with self._redis.pipeline(transaction=False) as asked:
            for name in names:
                asked.zcard(keys.ready(name))
                asked.zrange(keys.ready(name), 0, most - 1)
                asked.hget(keys.LIMITS, name)
            answers = iter(asked.execute())
        turns, number = [], 0
        for name, length, ids, limits in zip(names, answers, answers, answers, strict=True):
            weight = TenantLimits.model_validate_json(limits or "{}").weight
            turns += [(times.get(name, 0.0) + rank / weight, job_id) for rank, job_id in enumerate(ids)]
            number += length
        return [job_id for _, job_id in sorted(turns)[:MOST_SHOWN]], number

    def _own(self, ids: Sequence[str], tenant: str | None) -> list[str]:
        """Those of `ids` that are the tenant's, in their order."""
        return [job_id for job_id, owner in zip(ids, self._owners(ids), strict=True) if tenant in (None, owner)]

    def _owners(self, ids: Sequence[str]) -> list[str | None]:
        with self._scripts.faults(), self._redis.pipeline(transaction=False) as asked:
            for job_id in ids:
                asked.hget(keys.job(job_id), "tenant")
            owners: list[str | None] = asked.execute()
        return owners

    def _records(self, ids: Sequence[str]) -> Iterator[JobRecord]:
        by_tenant: dict[str, list[str]] = defaultdict(list)
        for job_id, owner in zip(ids, self._owners(ids), strict=True):
            if owner and job_id not in by_tenant[owner]:
                by_tenant[owner].append(job_id)
        for owner, own in by_tenant.items():
            yield from self._queue.records(owner, own)


def _in_line(job: JobRecord) -> JobInLine:
    return JobInLine(
        **{
            name: getattr(job, name)
            for name in JobInLine.model_fields
            if name in JobRecord.model_fields and name != "object"
        },
        name=job.spec.name if job.spec else None,
        priority=job.spec.priority if job.spec else 0,
        num_workers=job.spec.resources.num_workers if job.spec else 1,
    )


def _position(job: JobInLine) -> tuple[int, float, str]:
    return job.queue.position if job.queue else 0, job.created_at, job.id


def _newest(jobs: Iterable[JobInLine]) -> list[JobInLine]:
    return sorted(jobs, key=lambda job: (-(job.started_at or job.created_at), job.id))[:MOST_SHOWN]
