"""The one way a job gets into the queue, whatever asked for it: what could only fail later is refused now."""

from typing import Protocol

from rnncore.corpus import TextPlan
from rnncore.errors import Conflict, FinalConflict, InvalidInput
from rnncore.manifest import MANIFEST, Manifest
from rnncore.plans import make_plan
from rnncore.spec import JobSpec, starting_from
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord, JobState, NewTrial
from services.models import resolve
from services.settings import Settings
from services.storage import Storage
from services.submission.feasible import check_can_run
from services.traces import present_traceparent

# What of a spec has no part in the parameters that come of it.
_FREE_TO_DIFFER = {"name", "metadata", "priority", "max_attempts", "verify_of"}
# What a job that goes on from another's checkpoint may do otherwise from there.
_LIMITS = {"max_steps", "max_epochs", "max_seconds"}
_FREE_IN_RETRY = _LIMITS | {
    *("learning_rate", "schedule", "warmup_steps", "weight_decay", "gradient_clip_norm", "sample_prompts"),
    *("validate_every_steps", "checkpoint_every_steps", "keep_checkpoints", "early_stop_patience"),
}


class Rooms(Protocol):
    """What a job is checked with, and put into."""

    @property
    def settings(self) -> Settings: ...
    @property
    def queue(self) -> JobQueue: ...
    @property
    def storage(self) -> Storage: ...


def submit(
    spec: JobSpec,
    rooms: Rooms,
    tenant: str,
    *,
    idempotency_key: str | None = None,
    idempotency_seconds: int | None = None,
    trial: NewTrial | None = None,
) -> JobRecord:
    """The record of the new job, or of the one that `idempotency_key`, or the sweep for `trial`, made before.

    Raises InvalidInput, NotFound or Conflict naming the field, StorageFull, QuotaExceeded.
    """
    rooms.storage.check_space()
    checked = checked_spec(spec, rooms, tenant)
    return rooms.queue.submit(
        tenant,
        checked,
        idempotency_key=idempotency_key,
        idempotency_seconds=idempotency_seconds,
        traceparent=present_traceparent(),
        trial=trial,
    )


def checked_spec(spec: JobSpec, rooms: Rooms, tenant: str) -> JobSpec:
    """`spec` as it will run. Raises what would make it fail later, now."""
    if spec.verify_of:
        _check_repeats(spec, rooms.queue.job(tenant, spec.verify_of))
    if spec.retry_of:
        _check_continues(spec, rooms.queue.job(tenant, spec.retry_of))
    known = None
    if spec.init_from:
        source = resolve(rooms.queue, tenant, spec.init_from, param="init_from")
        initial = Manifest.parse(rooms.storage.get(f"{source.path}/{MANIFEST}"), rooms.settings.secret)
        # Pinned to the step: the best checkpoint of a running job may be another one tomorrow.
        spec = starting_from(spec, initial.task, initial.model, source.model)
        known = initial.encoding
    dataset, _ = rooms.queue.datasets.get(tenant, spec.dataset, param="dataset")
    validation = None
    if spec.validation_dataset:
        validation = rooms.queue.datasets.get(tenant, spec.validation_dataset, param="validation_dataset")[0].summary
    plan = make_plan(spec, dataset.summary, validation, known)
    check_can_run(spec, plan, dataset.summary, rooms.queue.capacity())
    if isinstance(plan, TextPlan):
        for number, prompt in enumerate(spec.train.sample_prompts):
            plan.vocabulary.encode(prompt, param=f"train.sample_prompts[{number}]")
    elif spec.train.sample_prompts:
        raise InvalidInput(
            f"train.sample_prompts is for language_model alone, task is {spec.task}; leave it out",
            param="train.sample_prompts",
        )
    return spec


def _check_repeats(spec: JobSpec, source: JobRecord) -> None:
    if source.state != JobState.SUCCEEDED:
        raise Conflict(f"{source.id} is {source.state}; only a job that succeeded can be verified", param="verify_of")
    ours, theirs = (one.model_dump(exclude=_FREE_TO_DIFFER) for one in (spec, source.asked()))
    differing = sorted(name for name in ours if ours[name] != theirs[name])
    if differing:
        raise InvalidInput(
            f"verify_of={source.id} asks for the same job again, but {', '.join(differing)} differ; "
            "use POST /v1/jobs/{id}/verify",
            param=differing[0],
        )


def _check_continues(spec: JobSpec, source: JobRecord) -> None:
    if not source.state.is_terminal:
        raise Conflict(f"{source.id} is {source.state}; only a job that has ended is tried again", param="retry_of")
    kept = _FREE_TO_DIFFER | {"retry_of", "train"}
    ours, theirs = (one.model_dump(exclude=kept) for one in (spec, source.asked()))
    differing = [name for name in ours if ours[name] != theirs[name]]
    ours, theirs = (one.train.model_dump() for one in (spec, source.asked()))
    changed = {name for name in ours if ours[name] != theirs[name]}
    differing += [f"train.{name}" for name in sorted(changed - _FREE_IN_RETRY)]
    if differing:
        raise InvalidInput(
            f"{', '.join(differing)} differ from {source.id}, whose checkpoint fixes them; leave them out, "
            "or submit a new job with init_from",
            param=differing[0],
        )
    if source.state == JobState.SUCCEEDED and not changed & _LIMITS:
        raise FinalConflict(
            f"{source.id} succeeded and used up its limits; raise train.max_steps (max_epochs, max_seconds) to go on",
            param="train.max_steps",
        )
