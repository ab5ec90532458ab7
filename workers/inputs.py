"""What a claimed job needs before its first step: its data, and the checkpoint it starts from."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from rnncore.checkpoint import Snapshot, load_checkpoint
from rnncore.errors import CorruptCheckpoint, NotFound
from rnncore.load import load
from rnncore.loop import Replay
from rnncore.manifest import TO_ANSWER, TO_RESUME
from rnncore.plans import make_plan
from rnncore.spec import JobSpec
from rnncore.tasks.examples import ExampleData
from rnncore.text import TextData
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim
from services.models import resolve
from services.storage import Storage

Data = TextData | ExampleData


class Inputs(NamedTuple):
    """`resume` goes on with this job or the one it retries, `initial` starts from another model; at most one is set.

    `replay` is that of the job that this one verifies.
    """

    data: Data
    resume: Snapshot | None
    initial: Snapshot | None
    replay: Replay | None

    def text(self) -> TextData:
        """The data of a language model."""
        assert isinstance(self.data, TextData)
        return self.data


def load_inputs(
    claim: Claim,
    queue: JobQueue,
    storage: Storage,
    secret: bytes,
    warn: Callable[[str], None],
    data: Data | None = None,
) -> Inputs:
    """Reads checkpoints of `claim`, and its data sets unless they are there, as `data`.

    Raises InvalidInput, NotFound, CorruptCheckpoint, or Unavailable.
    """
    spec = claim.spec
    resume = _last_checkpoint(claim.tenant, claim.job, queue, storage, secret, warn)
    if resume is None and spec.retry_of:
        resume = _without_best(_last_checkpoint(claim.tenant, spec.retry_of, queue, storage, secret, warn))
    initial = None
    if spec.init_from and not resume:
        source = resolve(queue, claim.tenant, spec.init_from)
        with storage.reading(source.path, *TO_ANSWER) as folder:
            initial = load_checkpoint(folder, secret, weights_only=True)
    data = data or _load_data(spec, claim.tenant, queue, storage, resume or initial)
    replay = _replay(spec.verify_of, claim.tenant, queue, storage, secret) if spec.verify_of else None
    return Inputs(data, resume, initial, replay)


def _load_data(spec: JobSpec, tenant: str, queue: JobQueue, storage: Storage, start: Snapshot | None) -> Data:
    """As the model that is started from reads them, where there is one."""
    dataset, blob = queue.datasets.get(tenant, spec.dataset)
    validation_summary, validation_blob = None, None
    if spec.validation_dataset:
        validation, validation_blob = queue.datasets.get(tenant, spec.validation_dataset)
        validation_summary = validation.summary
    known = start.manifest.encoding if start else None
    plan = make_plan(spec, dataset.summary, validation_summary, known)
    with ExitStack() as files:
        path = files.enter_context(storage.reading(blob))
        validation_path = files.enter_context(storage.reading(validation_blob)) if validation_blob else None
        return load(spec, plan, dataset.summary, path, validation_path=validation_path, known=known)


def _without_best(snapshot: Snapshot | None) -> Snapshot | None:
    """The best of another job is not among the checkpoints of this one."""
    if snapshot is None:
        return None
    unjudged = {"best_step": None, "best_validation_loss": None, "validations_without_improvement": 0}
    progress = snapshot.manifest.progress.model_copy(update=unjudged)
    return snapshot._replace(manifest=snapshot.manifest.model_copy(update={"progress": progress}))


def _replay(job: str, tenant: str, queue: JobQueue, storage: Storage, secret: bytes) -> Replay:
    with storage.reading(resolve(queue, tenant, f"{job}:latest").path, *TO_RESUME) as folder:
        last = load_checkpoint(folder, secret)
    return Replay(last.manifest.progress.step, last.training["schedule.progress"].tolist())


def _last_checkpoint(
    tenant: str, job: str, queue: JobQueue, storage: Storage, secret: bytes, warn: Callable[[str], None]
) -> Snapshot | None:
    """The newest checkpoint of the job that is whole; a damaged one is passed over, and that is said."""
    for checkpoint in queue.checkpoints(tenant, job):
        try:
            with storage.reading(checkpoint.path, *TO_RESUME) as folder:
                return load_checkpoint(folder, secret)
        except (CorruptCheckpoint, NotFound) as error:
            warn(f"checkpoint at step {checkpoint.step} passed over: {error}")
    return None
