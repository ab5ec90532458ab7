"""JobQueue: every change to a job, each one script. Knows no HTTP, no Ray, no file.

The claim and what a trainer may write with it are in `claims.py`; both speak to the scripts through `RedisScripts`.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256

from rnncore.errors import Conflict, FinalConflict, NotFound, QuotaExceeded
from rnncore.spec import JobSpec
from services.jobqueue import keys
from services.jobqueue.aliases import Aliases
from services.jobqueue.datasets import Datasets
from services.jobqueue.index import pages
from services.jobqueue.parsing import event_of, job_of, seconds_of
from services.jobqueue.records import (
    Capacity,
    Checkpoint,
    Event,
    JobError,
    JobRecord,
    JobState,
    NewTrial,
    QueuePlace,
    Seats,
)
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import storage_quota
from services.jobqueue.waiting import queue_places

_QUOTA_SECONDS = 30
_ALTERED = JobError(type="envelope", message="the record of this job was altered outside the service; it was not run")


class JobQueue:
    """Jobs of all tenants, their data sets and aliases. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts, *, idempotency_seconds: int = 86_400) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self.aliases = Aliases(scripts)
        self.datasets = Datasets(scripts)
        self._idempotency_seconds = idempotency_seconds

    def ping(self) -> None:
        """Raises Unavailable unless Redis answers, SchemaMismatch where its data are another program's."""
        self._scripts.check_schema()

    def submit(
        self,
        tenant: str,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        idempotency_seconds: int | None = None,
        traceparent: str = "",
        trial: NewTrial | None = None,
    ) -> JobRecord:
        """Queues `spec`; durable on return. The same key again answers the job it made, for `idempotency_seconds`.

        So does the same trial of a sweep, for ever.

        Raises NotFound naming the field if a data set is not there, FinalConflict if the key was used for another
        spec, QuotaExceeded if the tenant has as many jobs ready as it may, StorageQuotaExceeded if it has as much
        stored, Conflict if the sweep takes no more trials.
        """
        body = spec.model_dump_json()
        job_id = f"job-{secrets.token_hex(8)}"
        answer, detail = self._scripts.run(
            "submit",
            job_id,
            tenant,
            body,
            spec.dataset,
            spec.validation_dataset or "",
            spec.priority,
            spec.model.cell,
            idempotency_key or "",
            sha256(body.encode()).hexdigest(),
            idempotency_seconds or self._idempotency_seconds,
            self._scripts.signature(job_id, tenant, body),
            spec.resources.needs,
            " ".join(map(str, spec.worker_counts)),
            spec.resources.gpu_quarters,
            int(spec.timeout_seconds * 1000) if spec.timeout_seconds else "",
            traceparent,
            *((*trial.kept(job_id), *trial.fusing(spec)) if trial else ("",) * 5),
        )
        if answer == "no_sweep":
            raise Conflict(f"{detail} takes no more trials")
        if answer == "conflict":
            raise FinalConflict(
                f"Idempotency-Key was used for {detail} with another body; send a new key for a new job",
                param="Idempotency-Key",
            )
        if answer == "quota":
            raise QuotaExceeded(
                f"tenant {tenant} has {detail} jobs ready to start, as many as it may; cancel some or submit later",
                retry_after=_QUOTA_SECONDS,
            )
        if answer == "storage":
            raise storage_quota(tenant, 0, *map(int, detail.split()))
        if answer == "no_dataset":
            raise NotFound(f"no data set {getattr(spec, detail)}; list yours at GET /v1/datasets", param=detail)
        return self.job(tenant, detail)

    def submitted(self, tenant: str, idempotency_key: str) -> JobRecord | None:
        """The job that was submitted with the key, if it is still known and there."""
        with self._scripts.faults():
            known = self._redis.get(keys.idempotency(tenant, idempotency_key))
        found = self.records(tenant, [known.partition(" ")[0]]) if known else []
        return found[0] if found else None

    def job(self, tenant: str, job_id: str) -> JobRecord:
        """One job. Raises NotFound for another tenant's as for an unknown one."""
        found = self.records(tenant, [job_id])
        if not found:
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        return found[0]

    def jobs(
        self,
        tenant: str,
        *,
        state: JobState | None = None,
        metadata: dict[str, str] | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> tuple[list[JobRecord], bool]:
        """Jobs of `tenant`, newest first, those behind job `after`; and whether there are more."""
        found: list[JobRecord] = []
        for page in pages(self._scripts, keys.jobs(tenant), after, "after"):
            for record in self.records(tenant, page):
                pairs = record.spec.metadata if record.spec else {}
                if (state and record.state != state) or (metadata and not metadata.items() <= pairs.items()):
                    continue
                if len(found) == limit:
                    return found, True
                found.append(record)
        return found, False

    def expired(self, before: float, *, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of jobs that ended before the Unix time `before`, oldest first."""
        with self._scripts.faults():
            ids = self._redis.zrangebyscore(keys.ENDED, "-inf", f"({before * 1000}", start=0, num=limit)
            return [(self._redis.hget(keys.job(job_id), "tenant") or "", job_id) for job_id in ids]

    def sources(self) -> set[str]:
        """Jobs that unfinished ones start from, and those with an alias."""
        found: set[str] = set()
        with self._scripts.faults():
            for key in self._redis.scan_iter(match=keys.aliases("*"), count=1000):
                found |= {alias.job for alias in self.aliases.list(keys.tenant_of_aliases(key))}
            for key in self._redis.scan_iter(match=keys.jobs("*"), count=1000):
                for page in pages(self._scripts, key, None, ""):
                    for raw, ended in self._hmget_all(page, "spec", "finished_at"):
                        if raw and not ended:
                            found |= _sources_in(raw)
        return found

    def _hmget_all(self, ids: Sequence[str], *names: str) -> list[list[str | None]]:
        with self._redis.pipeline(transaction=False) as asked:
            for job_id in ids:
                asked.hmget(keys.job(job_id), *names)
            answers: list[list[str | None]] = asked.execute()
        return answers

    def capacity(self) -> Capacity | None:
        """What the workers could run were they all free; None before the first dispatcher has said so."""
        with self._scripts.faults():
            told = {name: int(value) for name, value in self._redis.hgetall(keys.CAPACITY).items()}
        return Capacity(Seats(told["cpu"], told["gpu"]), told["memory"], told["most"]) if told else None

    def cancel(self, tenant: str, job_id: str) -> JobRecord:
        """A queued job ends at once, a running one at its next beat, an ended one stays as it is."""
        if self._scripts.run("cancel", job_id, tenant) == "missing":
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        return self.job(tenant, job_id)

    def pause(self, tenant: str, job_id: str) -> JobRecord:
        """Sets a queued job aside; a running one stops after its step, with a checkpoint; an ended one stays so."""
        if self._scripts.run("pause", job_id, tenant) == "missing":
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        return self.job(tenant, job_id)

    def resume(self, tenant: str, job_id: str) -> JobRecord:
        """Queues a paused job again, and withdraws a pause that is under way; any other job stays as it is."""
        if self._scripts.run("resume", job_id, tenant) == "missing":
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        return self.job(tenant, job_id)

    def delete_job(self, tenant: str, job_id: str) -> None:
        """Forgets an ended job. Raises Conflict for one that has not ended, has an alias, or is started from."""
        answer, *detail = self._scripts.run("delete_job", job_id, tenant)
        if answer == "missing":
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        if answer == "state":
            raise Conflict(f"{job_id} is {detail[0]}; cancel it before deleting it", param="job_id")
        if answer != "ok":
            raise Conflict(_still_needed(job_id, answer, detail[0]), param="job_id")

    def delete_checkpoints(self, tenant: str, job_id: str, steps: Sequence[int], *, param: str) -> None:
        """Forgets checkpoints; their files may go then. Those that are gone already are fine.

        Raises Conflict for one that an alias names, that an unfinished job starts from, or that the job itself, while
        it has not ended, needs: its newest and its best.
        """
        answer, *detail = self._scripts.run("delete_checkpoints", job_id, tenant, *steps)
        if answer == "missing":
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param=param)
        if answer == "step":
            raise Conflict(
                f"{job_id} has not ended and goes on from its newest and its best checkpoint, step-{detail[0]} among "
                "them; cancel it first",
                param=param,
            )
        if answer != "ok":
            raise Conflict(_still_needed(job_id, answer, detail[0]), param=param)

    def checkpoints(self, tenant: str, job_id: str) -> list[Checkpoint]:
        """Published checkpoints of one job, latest first."""
        with self._scripts.faults():
            owner, best = self._redis.hmget(keys.job(job_id), "tenant", "best")
            kept = self._redis.hvals(keys.checkpoints(job_id))
        if owner != tenant:
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        best_step = json.loads(best)["step"] if best else None
        found = sorted((Checkpoint.model_validate_json(raw) for raw in kept), key=lambda c: -c.step)
        return [c.model_copy(update={"is_best": c.step == best_step, "is_latest": i == 0}) for i, c in enumerate(found)]

    def events(
        self, tenant: str, job_id: str, *, after: str | None, limit: int, newest_first: bool = False
    ) -> tuple[list[Event], bool]:
        """Events of one job behind event `after`; and whether there are more."""
        self.job(tenant, job_id)
        key, behind = keys.events(job_id), f"({after}"
        with self._scripts.faults():
            if newest_first:
                raw = self._redis.xrevrange(key, max=behind if after else "+", count=limit + 1)
            else:
                raw = self._redis.xrange(key, min=behind if after else "-", count=limit + 1)
        return [event_of(event_id, fields) for event_id, fields in raw[:limit]], len(raw) > limit

    def records(self, tenant: str, ids: Sequence[str]) -> list[JobRecord]:
        """The jobs of `ids` that are there and this tenant's, in two round trips."""
        with self._scripts.faults(), self._redis.pipeline(transaction=False) as asked:
            for job_id in ids:
                asked.hgetall(keys.job(job_id))
            own = [fields for fields in asked.execute() if fields.get("tenant") == tenant]
        waiting = [fields["id"] for fields in own if fields.get("state") == JobState.QUEUED and "id" in fields]
        places: dict[str, QueuePlace | None] = {}
        if waiting:
            answer = json.loads(self._scripts.run("places", *waiting))
            places = dict(zip(waiting, queue_places(answer, [tenant] * len(waiting)), strict=True))
        return [self._record(fields, places.get(fields.get("id", ""))) for fields in own]

    def _record(self, fields: Mapping[str, str], place: QueuePlace | None) -> JobRecord:
        """The record behind a job's hash. One that is not what the service wrote is set aside and shown as failed."""
        try:
            if self._scripts.is_signed(fields["signature"], fields["id"], fields["tenant"], fields["spec"]):
                return job_of(fields, place)
        except (KeyError, ValueError):
            pass
        job_id = fields.get("id", "")
        self._scripts.run("set_aside", job_id)
        times = {name: seconds_of(fields.get(name)) for name in ("created_at", "started_at", "finished_at")}
        created_at = times.pop("created_at") or 0.0
        return JobRecord(
            id=job_id,
            state=JobState.FAILED,
            spec=None,
            tenant=fields["tenant"],
            created_at=created_at,
            error=_ALTERED,
            **times,
        )


def _still_needed(job_id: str, answer: str, by: str) -> str:
    if answer == "alias":
        return f"the alias {by} names a model of {job_id}; delete it, or let it name another, first"
    return f"{by} starts from {job_id} and has not ended; cancel it first"


def _sources_in(raw: str) -> set[str]:
    """Jobs that the spec `raw` names; none where it was altered."""
    try:
        spec = json.loads(raw)
        named = (spec.get("retry_of"), spec.get("verify_of"), (spec.get("init_from") or "").partition(":")[0])
    except (ValueError, AttributeError):
        return set()
    return {job_id for job_id in named if job_id}
