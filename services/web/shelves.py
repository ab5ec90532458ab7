"""What the pages of sweeps, data sets, models, queue and workers read. Knows no page, and changes nothing."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rnncore.errors import NotFound, UnrollError
from services.jobqueue.drain import Drains
from services.jobqueue.floor import Floor, Worker
from services.jobqueue.line import Line, Lines
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Checkpoint, Dataset, JobRecord, JobState
from services.jobqueue.sweeps import Sweeps, Trial
from services.jobqueue.tenants import Tenant, Tenants
from services.models import best_of, named, resolve
from services.models.parameters import Tensor, read_tensors
from services.storage import Storage
from services.sweeps.report import SweepReport, report

PAGE = 20
_PREVIEW_BYTES = 4_000
_JOBS_LOOKED_THROUGH = 300
_JOBS_SHOWN = 20


class SweepShelf(NamedTuple):
    """One sweep and all its trials."""

    report: SweepReport
    trials: list[Trial]


class DatasetShelf(NamedTuple):
    """One data set, its beginning, and the newest jobs that read it."""

    dataset: Dataset
    preview: str
    jobs: list[JobRecord]


class ModelShelf(NamedTuple):
    """A model under a name: the checkpoint that answers, the job that made it, and the aliases of that job's models."""

    id: str
    alias_of: str | None
    checkpoint: Checkpoint
    job: JobRecord | None
    aliases: list[str]
    checkpoints: Sequence[Checkpoint] = ()
    tensors: Sequence[Tensor] = ()


class Models(NamedTuple):
    """Aliases, and the best checkpoints of finished jobs; `last` where there are more jobs behind it."""

    aliases: list[ModelShelf]
    finished: list[ModelShelf]
    last: str | None


class Shelves(Protocol):
    """One tenant's view; `seen` is the tenant whose jobs are shown in what all share, None for all tenants'."""

    def sweeps(self, tenant: str, after: str | None) -> tuple[list[SweepReport], bool]: ...
    def sweep(self, tenant: str, sweep_id: str) -> SweepShelf | None: ...
    def datasets(self, tenant: str, after: str | None) -> tuple[list[Dataset], bool]: ...
    def dataset(self, tenant: str, dataset_id: str) -> DatasetShelf | None: ...
    def models(self, tenant: str, after: str | None) -> Models: ...
    def model(self, tenant: str, model_id: str) -> ModelShelf | None: ...
    def line(self, seen: str | None) -> Line: ...
    def shares(self, tenant: str, seen: str | None) -> list[Tenant]: ...
    def workers(self, seen: str | None) -> list[Worker]: ...
    def drained(self) -> str: ...


@dataclass(frozen=True)
class RoomShelves:
    """The shelves of a running service."""

    queue: JobQueue
    sweep_room: Sweeps
    storage: Storage
    tenants: Tenants
    floor: Floor
    lines: Lines
    drains: Drains

    def sweeps(self, tenant: str, after: str | None) -> tuple[list[SweepReport], bool]:
        """Newest first, those behind `after`; and whether there are more. Behind one that is gone: the first ones."""
        try:
            found, has_more = self.sweep_room.page(tenant, limit=PAGE, after=after)
        except NotFound:
            return self.sweeps(tenant, None)
        return [report(sweep, self.sweep_room.trials(sweep)) for sweep in found], has_more

    def sweep(self, tenant: str, sweep_id: str) -> SweepShelf | None:
        try:
            found = self.sweep_room.get(tenant, sweep_id)
        except NotFound:
            return None
        trials = self.sweep_room.trials(found)
        return SweepShelf(report(found, trials), trials)

    def datasets(self, tenant: str, after: str | None) -> tuple[list[Dataset], bool]:
        """As `sweeps`."""
        try:
            return self.queue.datasets.list(tenant, limit=PAGE, after=after)
        except NotFound:
            return self.datasets(tenant, None)

    def dataset(self, tenant: str, dataset_id: str) -> DatasetShelf | None:
        try:
            found, blob = self.queue.datasets.get(tenant, dataset_id)
            first = self.storage.get(blob, most_bytes=_PREVIEW_BYTES)
        except NotFound:
            return None
        jobs, _ = self.queue.jobs(tenant, limit=_JOBS_LOOKED_THROUGH)
        reading = [job for job in jobs if job.spec and dataset_id in (job.spec.dataset, job.spec.validation_dataset)]
        preview = first.decode("utf-8", "replace").rstrip("\N{REPLACEMENT CHARACTER}")
        return DatasetShelf(found, preview, reading[:_JOBS_SHOWN])

    def models(self, tenant: str, after: str | None) -> Models:
        """Aliases stand on the first page alone."""
        try:
            jobs, has_more = self.queue.jobs(tenant, state=JobState.SUCCEEDED, limit=PAGE, after=after)
        except NotFound:
            return self.models(tenant, None)
        of_jobs = self._aliases(tenant)
        aliases = []
        for alias in self.queue.aliases.list(tenant) if after is None else []:
            with suppress(NotFound):
                checkpoint = resolve(self.queue, tenant, alias.model)
                job = self.queue.job(tenant, checkpoint.job)
                aliases.append(ModelShelf(alias.name, alias.model, checkpoint, job, of_jobs[checkpoint.job]))
        finished = []
        for job in jobs:
            if kept := self.queue.checkpoints(tenant, job.id):
                finished.append(ModelShelf(job.id, None, best_of(kept), job, of_jobs.get(job.id, [])))
        return Models(aliases, finished, jobs[-1].id if has_more else None)

    def model(self, tenant: str, model_id: str) -> ModelShelf | None:
        try:
            stands_for = named(self.queue, tenant, model_id)
            checkpoint = resolve(self.queue, tenant, stands_for)
            job = self.queue.job(tenant, checkpoint.job)
            kept = self.queue.checkpoints(tenant, checkpoint.job)
        except NotFound:
            return None
        tensors: list[Tensor] = []
        with suppress(UnrollError):  # the page stands without them
            tensors = read_tensors(self.storage, checkpoint.path)
        alias_of = stands_for if stands_for != model_id else None
        of_job = self._aliases(tenant).get(job.id, [])
        return ModelShelf(model_id, alias_of, checkpoint, job, of_job, kept, tensors)

    def line(self, seen: str | None) -> Line:
        return self.lines.read(seen)

    def shares(self, tenant: str, seen: str | None) -> list[Tenant]:
        return self.tenants.list() if seen is None else [self.tenants.get(tenant)]

    def workers(self, seen: str | None) -> list[Worker]:
        return self.floor.workers(seen)

    def drained(self) -> str:
        return self.drains.told()

    def _aliases(self, tenant: str) -> Mapping[str, list[str]]:
        """Job -> the aliases for its models."""
        found: dict[str, list[str]] = {}
        for alias in self.queue.aliases.list(tenant):
            found.setdefault(alias.job, []).append(alias.name)
        return found
