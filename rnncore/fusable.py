"""Which jobs can be trained side by side as one program, and where that is faster. Torch-free.

`rnncore.fused` trains them; whoever hands out jobs asks here first, of their specs alone.
"""

import json
from collections.abc import Collection, Sequence
from hashlib import sha256

from rnncore.spec import JobSpec

# A rule made of figures, those of docs/how-to/sweeps.md: where eight trials on two workers are done sooner. Four gain
# as much as eight, 32 less. Nobody has measured a GPU yet: nothing is fused there.
MOST_FUSED = 8
_MOST_UNITS = {"rnn": 128, "gru": 64, "lstm": 48}

# Elsewhere the jobs must be equal, for they share each window and the shape of each tensor.
_MAY_DIFFER_IN_MODEL = {"dropout", "forget_bias"}
_MUST_AGREE_IN_TRAIN = ("batch_size", "tbptt_steps", "tbptt_stride", "precision", "validation_fraction")


def fusable(specs: Sequence[JobSpec]) -> str | None:
    """None if these jobs can be trained side by side, else the first reason why not, naming field and values.

    Jobs with different `init_from` can where their models have one vocabulary, which is not seen from here.
    """
    for spec in specs:
        if why := _cannot(spec):
            return why
    first = _shared(specs[0])
    for spec in specs[1:]:
        for field, value in _shared(spec).items():
            if value != first[field]:
                return f"{field} is {first[field]} in one and {value} in another; it must be the same in all"
    return None


def fuse_key(spec: JobSpec) -> str | None:
    """Equal for jobs that a worker may be handed together; None for one that is trained alone.

    Besides what `fusable` asks for they have equal priorities and start from one model, so that each may wait for any.
    """
    if _cannot(spec) or most_fused(spec) < 2:
        return None
    return sha256(json.dumps(_asked_of_all(spec), sort_keys=True).encode()).hexdigest()[:16]


def most_fused(spec: JobSpec) -> int:
    """As many trials as are worth being trained by one thread of a CPU at once; 1: it is no faster."""
    return MOST_FUSED if spec.model.hidden_size <= _MOST_UNITS[spec.model.cell] else 1


def keeps_key(spec: JobSpec, paths: Collection[str]) -> bool:
    """Whether jobs that are as `spec` but for the fields at `paths` have one `fuse_key`."""
    return fuse_key(spec) is not None and not _asked_of_all(spec).keys() & paths


def _asked_of_all(spec: JobSpec) -> dict[str, object]:
    own = {"task": spec.task, "priority": spec.priority, "init_from": spec.init_from}
    return _shared(spec) | own | {"resources.num_workers": 1, "train.max_seconds": None}


def _cannot(spec: JobSpec) -> str | None:
    """Why this one cannot be trained beside any other."""
    if spec.task != "language_model":
        return f"task is {spec.task}; only language_model can"
    if spec.train.precision == "bf16-mixed":
        return "train.precision is bf16-mixed; only fp32 can"
    if spec.train.max_seconds is not None:
        return "train.max_seconds counts the seconds of one job alone; give train.max_steps or train.max_epochs instead"
    if spec.resources.num_workers != 1:
        return f"resources.num_workers is {spec.resources.num_workers}; only jobs of one worker can"
    if spec.verify_of is not None:
        return "verify_of asks for the very steps of another job; it must be alone"
    return None


def _shared(spec: JobSpec) -> dict[str, object]:
    model = spec.model.model_dump(exclude=_MAY_DIFFER_IN_MODEL)
    return {
        "dataset": spec.dataset,
        "validation_dataset": spec.validation_dataset,
        "resources.gpus_per_worker": spec.resources.gpus_per_worker,
        **{f"model.{field}": value for field, value in model.items()},
        **{f"train.{field}": getattr(spec.train, field) for field in _MUST_AGREE_IN_TRAIN},
    }
