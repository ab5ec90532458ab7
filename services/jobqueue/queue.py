"""JobQueue: every change to a job or a data set, each one script. Knows no HTTP, no Ray, no file.

The claim and what a trainer may write with it are in `claims.py`; both speak to the scripts through `RedisScripts`.
"""

import json
import secrets
from collections.abc import Sequence
from hashlib import sha256

from rnncore.errors import Conflict, NotFound, QuotaExceeded
from rnncore.spec import JobSpec
from services.jobqueue import keys
from services.jobqueue.records import Checkpoint, Dataset, Event, JobRecord, JobState, QueuePlace
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import Tenants

_SCAN = 100
_QUOTA_SECONDS = 30


class JobQueue:
    """Jobs and data sets of all tenants. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts, *, idempotency_seconds: int = 86_400) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._tenants = Tenants(scripts)
        self._idempotency_seconds = idempotency_seconds

    def ping(self) -> None:
        """Raises Unavailable unless Redis answers."""
        with self._scripts.faults():
            self._redis.ping()

    def submit(self, tenant: str, spec: JobSpec, *, idempotency_key: str | None = None) -> JobRecord:
        """Queues `spec`; durable on return. The same key again answers the job it made.

        Raises NotFound naming the field if a data set is not there, Conflict if the key was used for another spec,
        QuotaExceeded if the tenant has as many jobs ready as it may.
        """
        body = spec.model_dump_json()
        answer, detail = self._scripts.run(
            "submit",
            f"job-{secrets.token_hex(8)}",
            tenant,
            body,
            spec.dataset,
            spec.validation_dataset or "",
            spec.priority,
            spec.model.cell,
            idempotency_key or "",
            sha256(body.encode()).hexdigest(),
            self._idempotency_seconds,
        )
        if answer == "conflict":
            raise Conflict(
                f"Idempotency-Key was used for {detail} with another body; send a new key for a new job",
                param="Idempotency-Key",
            )
        if answer == "quota":
            raise QuotaExceeded(
                f"tenant {tenant} has {detail} jobs ready to start, as many as it may; cancel some or submit later",
                retry_after=_QUOTA_SECONDS,
            )
        if answer == "no_dataset":
            raise NotFound(f"no data set {getattr(spec, detail)}; list yours at GET /v1/datasets", param=detail)
        return self.job(tenant, detail)

    def job(self, tenant: str, job_id: str) -> JobRecord:
        """One job. Raises NotFound for another tenant's as for an unknown one."""
        with self._scripts.faults():
            fields = self._redis.hgetall(keys.job(job_id))
        if fields.get("tenant") != tenant:
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        place = self._place(fields) if fields["state"] == JobState.QUEUED else None
        return _record(fields, place)

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
        for job_id in self._ids(keys.jobs(tenant), after, "after"):
            try:
                record = self.job(tenant, job_id)
            except NotFound:  # deleted since it was listed
                continue
            if (state and record.state != state) or (metadata and not metadata.items() <= record.spec.metadata.items()):
                continue
            if len(found) == limit:
                return found, True
            found.append(record)
        return found, False

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
        """Forgets an ended job. Raises Conflict for one that has not ended."""
        answer = self._scripts.run("delete_job", job_id, tenant)
        if answer == "missing":
            raise NotFound(f"no job {job_id}; list yours at GET /v1/jobs", param="job_id")
        if answer != "ok":
            raise Conflict(f"{job_id} is {answer}; cancel it before deleting it", param="job_id")

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

    def events(self, tenant: str, job_id: str, *, after: str | None, limit: int) -> tuple[list[Event], bool]:
        """Events of one job behind event `after`, oldest first; and whether there are more."""
        self.job(tenant, job_id)
        with self._scripts.faults():
            raw = self._redis.xrange(keys.events(job_id), min=f"({after}" if after else "-", count=limit + 1)
        return [event_of(event_id, fields) for event_id, fields in raw[:limit]], len(raw) > limit

    def put_dataset(self, dataset: Dataset, blob: str) -> tuple[Dataset, str]:
        """Registers `dataset`, or answers the equal one that is there already, with the blob that is kept."""
        record = json.dumps({"dataset": dataset.model_dump(mode="json", exclude={"uses"}), "blob": blob})
        kept = json.loads(self._scripts.run("put_dataset", dataset.id, dataset.tenant, record))
        return Dataset.model_validate(kept["dataset"]), kept["blob"]

    def dataset(self, tenant: str, dataset_id: str, *, param: str = "dataset_id") -> tuple[Dataset, str]:
        """One data set and its blob. Raises NotFound naming `param`."""
        with self._scripts.faults():
            owner, uses, raw = self._redis.hmget(keys.dataset(dataset_id), "tenant", "uses", "record")
        if owner != tenant:
            raise NotFound(f"no data set {dataset_id}; list yours at GET /v1/datasets", param=param)
        kept = json.loads(raw)
        return Dataset.model_validate(kept["dataset"] | {"uses": int(uses)}), kept["blob"]

    def datasets(self, tenant: str, *, limit: int = 20, after: str | None = None) -> tuple[list[Dataset], bool]:
        """Data sets of `tenant`, newest first, those behind `after`; and whether there are more."""
        found: list[Dataset] = []
        for dataset_id in self._ids(keys.datasets(tenant), after, "after"):
            if len(found) == limit:
                return found, True
            try:
                found.append(self.dataset(tenant, dataset_id)[0])
            except NotFound:  # deleted since it was listed
                continue
        return found, False

    def delete_dataset(self, tenant: str, dataset_id: str) -> str:
        """Forgets a data set that no unfinished job reads; answers the blob that may go. Raises Conflict otherwise."""
        answer, *detail = self._scripts.run("delete_dataset", dataset_id, tenant)
        if answer == "missing":
            raise NotFound(f"no data set {dataset_id}; list yours at GET /v1/datasets", param="dataset_id")
        if answer == "in_use":
            raise Conflict(
                f"{dataset_id} is read by {detail[0]} unfinished jobs; cancel them first", param="dataset_id"
            )
        blob: str = json.loads(detail[0])["blob"]
        return blob

    def _ids(self, index: str, after: str | None, param: str) -> "_Ids":
        start = 0
        if after is not None:
            with self._scripts.faults():
                rank = self._redis.zrevrank(index, after)
            if rank is None:
                raise NotFound(f"no object {after} to list behind", param=param)
            start = rank + 1
        return _Ids(self._scripts, index, start)

    def _place(self, fields: dict[str, str]) -> QueuePlace:
        with self._scripts.faults():
            rank = self._redis.zrank(keys.ready(fields["tenant"]), fields["id"])
            if rank is None:
                waiting = self._redis.zcard(keys.ready(fields["tenant"]))
                return QueuePlace(position=waiting + 1, reason="backoff")
        tenant = self._tenants.get(fields["tenant"])
        is_full = tenant.max_running is not None and tenant.running >= tenant.max_running
        return QueuePlace(position=rank + 1, reason="quota" if is_full else "no_free_worker")


class _Ids:
    """Members of an index, highest score first, read in pages."""

    def __init__(self, scripts: RedisScripts, index: str, start: int) -> None:
        self._scripts = scripts
        self._index = index
        self._page: Sequence[str] = ()
        self._next = start

    def __iter__(self) -> "_Ids":
        return self

    def __next__(self) -> str:
        if not self._page:
            with self._scripts.faults():
                self._page = self._scripts.redis.zrevrange(self._index, self._next, self._next + _SCAN - 1)
            self._next += len(self._page)
        if not self._page:
            raise StopIteration
        first, self._page = self._page[0], self._page[1:]
        return first


def event_of(event_id: str, fields: dict[str, str]) -> Event:
    """The event behind one entry of a job's stream."""
    created_at = int(event_id.split("-")[0]) / 1000
    return Event.model_validate(
        {"id": event_id, "type": fields["type"], "created_at": created_at, "data": json.loads(fields["data"])}
    )


def _record(fields: dict[str, str], place: QueuePlace | None) -> JobRecord:
    parts = {
        name: json.loads(fields[name])
        for name in ("spec", "progress", "last", "best", "error", "placement", "warnings")
        if fields.get(name)
    }
    if fields["state"] != JobState.FAILED:
        parts.pop("error", None)
    times = {name: int(fields[name]) / 1000 for name in ("created_at", "started_at", "finished_at") if fields.get(name)}
    plain = {name: fields[name] for name in ("id", "state", "tenant", "attempt", "epoch")}
    return JobRecord.model_validate(
        {
            **plain,
            **parts,
            **times,
            "queue": place,
            "parameters_sha256": fields.get("parameters_sha256"),
            "cancel_requested": fields.get("cancel_requested") == "1",
        }
    )
