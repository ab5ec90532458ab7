"""From a SweepSpec to the jobs that it stands for, and whether it stands for any. Torch-free; knows no search."""

import itertools
import math
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from rnncore.errors import InvalidInput
from rnncore.spec import JobSpec, Task
from rnncore.sweep_spec import MOST_TRIALS, Choices, Point, SweepSpec

_NOT_SWEPT = ("retry_of", "verify_of", "metadata")
_TASKS_WITH: dict[str, tuple[Task, ...]] = {
    "accuracy": ("classify", "tag"),
    "sequence_accuracy": ("tag",),
    "rmse": ("regress", "forecast"),
    "sequence_error_rate": ("translate",),
}


def trial_spec(sweep: SweepSpec, point: Point, *, number: int) -> JobSpec:
    """The job of trial `number`, which is at `point`. Raises pydantic's ValidationError where it is none."""
    body = sweep.spec.model_dump(mode="json", exclude_unset=True)
    fields: dict[str, Any] = {}
    if title := sweep.spec.name or sweep.name:
        fields["name"] = f"{title[:190]} {number}"
    if replicate := number % sweep.replicates:
        fields["train.seed"] = sweep.spec.train.seed + replicate
    for path, value in (fields | dict(point)).items():
        section, _, field = path.rpartition(".")
        (body.setdefault(section, {}) if section else body)[field] = value
    return JobSpec.model_validate(body)


def most_trials(sweep: SweepSpec) -> int:
    """How many trials there are to be at most: those of whole points."""
    most = sweep.budget.max_trials or MOST_TRIALS
    if sweep.search.method == "grid":
        most = min(most, sweep.replicates * grid_size(sweep))
    return most - most % sweep.replicates


def grid_size(sweep: SweepSpec) -> int:
    """Points of the grid. Raises InvalidInput for a range that has none."""
    return math.prod(len(_grid_values(sweep, path)) for path in sweep.parameters)


def grid(sweep: SweepSpec) -> Iterator[dict[str, Any]]:
    """Every point of the grid, the last parameter changing fastest."""
    for values in itertools.product(*(_grid_values(sweep, path) for path in sweep.parameters)):
        yield dict(zip(sweep.parameters, values, strict=True))


def is_whole(path: str) -> bool:
    """Whether the field at `path` takes whole numbers alone."""
    return float not in _types_at(path)


def check_sweep(sweep: SweepSpec) -> list[Point]:
    """Raises InvalidInput naming the field of what could only fail later. Answers two points, ends of all ranges."""
    _check_base(sweep)
    for path in sweep.parameters:
        _check_parameter(sweep, path)
    _check_extent(sweep)
    _check_scores(sweep)
    return _check_points(sweep)


def _check_base(sweep: SweepSpec) -> None:
    for name in ("retry_of", "verify_of"):
        if getattr(sweep.spec, name):
            raise InvalidInput(f"spec.{name} is of one job alone; leave it out", param=f"spec.{name}")
    if sweep.replicates > 1 and "train.seed" in sweep.parameters:
        raise InvalidInput("replicates are the seeds of a point; leave out parameters.train.seed", param="replicates")
    last = sweep.spec.train.seed + sweep.replicates - 1
    if last >= 2**32:
        raise InvalidInput(
            f"the last replicate would have the seed {last}, over 4294967295; lower spec.train.seed",
            param="spec.train.seed",
        )


def _check_parameter(sweep: SweepSpec, path: str) -> None:
    asked, param = sweep.parameters[path], f"parameters.{path}"
    if isinstance(asked, Choices):
        if len(set(asked.values)) < len(asked.values):
            raise InvalidInput(f"{path} has a value twice; leave it out", param=param)
    elif not {int, float} & _types_at(path):
        raise InvalidInput(f"{path} is no number; name its values: {{values: [...]}}", param=param)
    elif is_whole(path) and any(n != int(n) for n in (asked.min, asked.max, asked.step or 1)):
        raise InvalidInput(f"{path} takes whole numbers; min, max and step have to be such", param=param)
    for value in _ends(sweep, path):
        try:
            _adapter(path).validate_python(value)
        except ValidationError as error:
            raise InvalidInput(f"{path} cannot be {value!r:.100}: {error.errors()[0]['msg']}", param=param) from error


def _check_extent(sweep: SweepSpec) -> None:
    most = sweep.budget.max_trials or MOST_TRIALS
    if most < sweep.replicates:
        raise InvalidInput(
            f"budget.max_trials is {most}, but a point has {sweep.replicates} replicates; raise it, or lower these",
            param="budget.max_trials",
        )
    if sweep.search.method == "grid":
        size = grid_size(sweep)
        if size * sweep.replicates > most:
            raise InvalidInput(
                f"the grid has {size} points, {size * sweep.replicates} trials, and {most} are allowed; "
                "name fewer values, raise budget.max_trials, or set search.method to random",
                param="parameters",
            )
    elif not sweep.budget.is_named:
        raise InvalidInput(
            f"a {sweep.search.method} search has no end of its own; name max_trials, max_worker_seconds or max_seconds",
            param="budget",
        )


def _check_scores(sweep: SweepSpec) -> None:
    tasks = _TASKS_WITH.get(sweep.objective.metric)
    if tasks and sweep.spec.task not in tasks:
        raise InvalidInput(
            f"{sweep.objective.metric} is a score of {' and '.join(tasks)}, task is {sweep.spec.task}",
            param="objective.metric",
        )
    halving, every = sweep.early_stopping, sweep.spec.train.validate_every_steps
    if halving and "train.validate_every_steps" not in sweep.parameters and halving.min_steps < every:
        raise InvalidInput(
            f"early_stopping.min_steps is {halving.min_steps}, but the first validation comes at step {every}; "
            "raise it, or lower spec.train.validate_every_steps",
            param="early_stopping.min_steps",
        )


def _check_points(sweep: SweepSpec) -> list[Point]:
    """Each value has to make a job with the first values of all other parameters, with the last, or alone."""
    ends = {path: _ends(sweep, path) for path in sweep.parameters}
    corners: list[Point] = [{path: values[at] for path, values in ends.items()} for at in (0, -1)]
    for path, values in ends.items():
        for value in values:
            faults = [_fault(sweep, {**corner, path: value}) for corner in (*corners, {})]
            if all(faults):
                raise InvalidInput(f"{path} cannot be {value!r:.100}: {faults[-1]}", param=f"parameters.{path}")
    return corners


def _fault(sweep: SweepSpec, point: Point) -> str | None:
    try:
        trial_spec(sweep, point, number=0)
    except ValidationError as error:
        return fault_of_spec(error)
    return None


def fault_of_spec(error: ValidationError) -> str:
    """What is wrong with a JobSpec, in a line."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), said)))


def _ends(sweep: SweepSpec, path: str) -> tuple[Any, ...]:
    asked = sweep.parameters[path]
    if isinstance(asked, Choices):
        return asked.values
    return (int(asked.min), int(asked.max)) if is_whole(path) else (asked.min, asked.max)


def _grid_values(sweep: SweepSpec, path: str) -> tuple[Any, ...]:
    asked = sweep.parameters[path]
    if isinstance(asked, Choices):
        return asked.values
    step = asked.step or (1 if is_whole(path) and not asked.log else None)
    if step is None:
        raise InvalidInput(
            f"a grid over {path} needs step, or its values; or set search.method to random",
            param=f"parameters.{path}",
        )
    count = min(MOST_TRIALS, int((asked.max - asked.min) / step + 1e-9)) + 1
    numbers = [float(f"{asked.min + place * step:.12g}") for place in range(count)]  # 0.3, not 0.30000000000000004
    return tuple(map(int, numbers)) if is_whole(path) else tuple(numbers)


def _field_at(path: str) -> FieldInfo:
    """The field of a JobSpec at `path`. Raises InvalidInput where a sweep cannot change it."""
    section, _, name = path.rpartition(".")
    within = _section(section) if section else JobSpec
    info = within.model_fields.get(name) if within else None
    if info is None or path in _NOT_SWEPT or (not section and _section(name)):
        raise InvalidInput(
            f"{path} is no field of a JobSpec that can have a range; name one such as train.learning_rate",
            param=f"parameters.{path}",
        )
    return info


def _section(name: str) -> type[BaseModel] | None:
    annotation = JobSpec.model_fields[name].annotation if name in JobSpec.model_fields else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _types_at(path: str) -> set[Any]:
    annotation = _field_at(path).annotation
    return {annotation, *get_args(annotation)}


@cache
def _adapter(path: str) -> TypeAdapter[Any]:
    """Checks a value by the rules of the field alone."""
    info = _field_at(path)
    checked: Any = Annotated[info.annotation, Field(), *info.metadata]
    return TypeAdapter(checked)
