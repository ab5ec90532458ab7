"""Which jobs can be trained side by side as one program. Torch-free.

`rnncore.fused` trains them; whoever hands out jobs asks here first, of their specs alone.
"""

from collections.abc import Sequence

from rnncore.spec import JobSpec

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


def _cannot(spec: JobSpec) -> str | None:
    """Why this one cannot be trained beside any other."""
    if spec.task != "language_model":
        return f"task is {spec.task}; only language_model can"
    if spec.train.precision != "fp32":
        return f"train.precision is {spec.train.precision}; only fp32 can"
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
