"""What a claimed job needs before its first step: its text as ids, and the checkpoint it starts from."""

from collections.abc import Callable
from typing import NamedTuple

from rnncore.checkpoint import Snapshot, load_checkpoint
from rnncore.corpus import TextPlan
from rnncore.errors import CorruptCheckpoint, NotFound
from rnncore.text import TextData, load_text
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim
from services.models import resolve
from services.storage import Storage


class Inputs(NamedTuple):
    """`resume` goes on with this job, `initial` starts from another model; at most one of them is set."""

    data: TextData
    resume: Snapshot | None
    initial: Snapshot | None


def load_inputs(claim: Claim, queue: JobQueue, storage: Storage, secret: bytes, warn: Callable[[str], None]) -> Inputs:
    """Reads data sets and checkpoints of `claim`. Raises InvalidInput, NotFound or CorruptCheckpoint."""
    spec = claim.spec
    resume = _last_checkpoint(claim, queue, storage, secret, warn)
    initial = None
    if spec.init_from and not resume:
        source = resolve(queue, claim.tenant, spec.init_from)
        initial = load_checkpoint(storage.local_path(source.path), secret, weights_only=True)
    text, blob = queue.dataset(claim.tenant, spec.dataset)
    validation_summary, validation_path = None, None
    if spec.validation_dataset:
        validation, validation_blob = queue.dataset(claim.tenant, spec.validation_dataset)
        validation_summary, validation_path = validation.summary, storage.local_path(validation_blob)
    start = resume or initial
    plan = TextPlan.of(spec, text.summary, validation_summary, start.manifest.encoding.vocabulary if start else None)
    return Inputs(load_text(storage.local_path(blob), plan, validation_path), resume, initial)


def _last_checkpoint(
    claim: Claim, queue: JobQueue, storage: Storage, secret: bytes, warn: Callable[[str], None]
) -> Snapshot | None:
    """The newest checkpoint of the job that is whole; a damaged one is passed over, and that is said."""
    for checkpoint in queue.checkpoints(claim.tenant, claim.job):
        try:
            return load_checkpoint(storage.local_path(checkpoint.path), secret)
        except (CorruptCheckpoint, NotFound) as error:
            warn(f"checkpoint at step {checkpoint.step} passed over: {error}")
    return None
