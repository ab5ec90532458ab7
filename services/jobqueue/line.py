"""The line: what waits, what runs and what was set aside, of one tenant or of all. Changes nothing."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.jobqueue import keys
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord, JobState, Placement, Progress, QueuePlace
from services.jobqueue.scripts import RedisScripts

MOST_SHOWN = 200
_MOST_READ = 1000


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
        """The line of `tenant`, or of all where it is None."""
        with self._scripts.faults():
            tenants = self._redis.zrange(keys.TENANTS, 0, -1) if tenant is None else [tenant]
            lengths = [self._redis.zcard(keys.ready(name)) for name in tenants]
            ready = [one for name in tenants for one in self._redis.zrange(keys.ready(name), 0, MOST_SHOWN - 1)]
            if tenant is None:
                running = self._redis.zrange(keys.LEASES, 0, _MOST_READ - 1)
            else:
                running = list(self._redis.smembers(keys.running(tenant)))
            backoff = self._redis.zrange(keys.BACKOFF, 0, _MOST_READ - 1)
            paused = self._redis.zrange(keys.PAUSED, 0, _MOST_READ - 1)
        jobs = self._jobs({*ready, *backoff, *running, *paused}, tenant)
        waiting = [job for job in jobs if job.queue is not None]
        held_back = len({job.id for job in waiting} & set(backoff))
        at_work = [job for job in jobs if job.state in (JobState.RUNNING, JobState.PAUSING)]
        return Line(
            waiting=sorted(waiting, key=_position)[:MOST_SHOWN],
            running=_newest(at_work),
            paused=_newest(job for job in jobs if job.state == JobState.PAUSED),
            num_waiting=sum(lengths) + held_back,
            num_running=len(at_work),
        )

    def _jobs(self, ids: set[str], tenant: str | None) -> list[JobInLine]:
        by_tenant: dict[str, list[str]] = defaultdict(list)
        if tenant is None:
            listed = sorted(ids)
            with self._scripts.faults(), self._redis.pipeline(transaction=False) as asked:
                for job_id in listed:
                    asked.hget(keys.job(job_id), "tenant")
                for job_id, owner in zip(listed, asked.execute(), strict=True):
                    by_tenant[owner or ""].append(job_id)
        else:
            by_tenant[tenant] = sorted(ids)
        return [_in_line(job) for owner, own in by_tenant.items() for job in self._queue.records(owner, own)]


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
