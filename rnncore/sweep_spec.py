"""What a client may ask for of many jobs at once: SweepSpec, a JobSpec with ranges. Torch-free; knows no search.

A trial is one JobSpec: that of the sweep with a value put in for each parameter. A point is the values; it has as many
trials as the sweep has replicates, which differ in their seed alone.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from rnncore.spec import JobSpec, MetadataKey, MetadataValue, ModelId, Name

MOST_TRIALS = 1_000
_LARGEST = 1e15


def _kind_of_scalar(value: object) -> str:
    return {bool: "<bool>", int: "<number>", float: "<number>", type(None): "<null>"}.get(type(value), "<text>")


def _kind_of_parameter(value: object) -> str:
    has_values = "values" in value if isinstance(value, dict) else isinstance(value, Choices)
    return "<values>" if has_values else "<range>"


# The tags stand in angle brackets, which no field's name has: whoever tells where an error is leaves them out.
Scalar = Annotated[
    Annotated[bool, Tag("<bool>")]
    | Annotated[int | float, Tag("<number>")]
    | Annotated[str, Tag("<text>"), StringConstraints(max_length=200)]
    | Annotated[None, Tag("<null>")],
    Discriminator(_kind_of_scalar),
]
FieldPath = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40})?$")]
Point = Mapping[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Part):
    """Every number between two, both included; whole numbers where the field is one."""

    min: float = Field(ge=-_LARGEST, le=_LARGEST)
    max: float = Field(ge=-_LARGEST, le=_LARGEST)
    log: bool = Field(default=False, description="Search the logarithm: for what matters by its order of magnitude.")
    step: float | None = Field(
        default=None, gt=0, le=_LARGEST, description="min, min + step, min + 2*step, ... alone; a grid needs it."
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min:g}, over max, which is {self.max:g}; exchange them")
        if self.log and self.min <= 0:
            raise ValueError(f"log needs min over 0, min is {self.min:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step cannot both be; name the values instead")
        return self


class Choices(_Part):
    """One of these values."""

    values: tuple[Scalar, ...] = Field(min_length=1, max_length=100)


Parameter = Annotated[
    Annotated[Range, Tag("<range>")] | Annotated[Choices, Tag("<values>")], Discriminator(_kind_of_parameter)
]


class SearchSpec(_Part):
    """How the next point is found."""

    method: Literal["grid", "random", "tpe"] = Field(
        default="tpe",
        description="grid: every combination. random: anywhere. tpe: where earlier trials were good (Bergstra 2011).",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="The same seed and the same results: the same points.")


class ObjectiveSpec(_Part):
    """What is to be made small, or large: a score of each trial's best checkpoint."""

    metric: Literal["validation_loss", "accuracy", "sequence_accuracy", "rmse", "sequence_error_rate"] = Field(
        default="validation_loss", description="validation_loss, or a metric that the task reports."
    )
    goal: Literal["minimize", "maximize"] | None = Field(
        default=None, description="null: maximize for accuracies, minimize for all else."
    )

    @property
    def is_maximized(self) -> bool:
        return (self.goal or _natural_goal(self.metric)) == "maximize"

    def value(self, validation_loss: float | None, metrics: Mapping[str, float]) -> float | None:
        """The score of a validation that told these."""
        return validation_loss if self.metric == "validation_loss" else metrics.get(self.metric)


class SweepBudget(_Part):
    """What ends the search; the first one reached. Trials that still run when seconds are used up are stopped."""

    max_trials: int | None = Field(
        default=None, ge=1, le=MOST_TRIALS, description=f"Trials, replicates counted. null: {MOST_TRIALS}."
    )
    max_worker_seconds: float | None = Field(
        default=None, gt=0, le=1e9, description="Time that workers are held by trials, summed over workers."
    )
    max_seconds: float | None = Field(
        default=None, gt=0, le=30 * 86_400, description="Seconds since the sweep was asked for, waiting included."
    )

    @property
    def is_named(self) -> bool:
        return any(limit is not None for limit in (self.max_trials, self.max_worker_seconds, self.max_seconds))


class SuccessiveHalving(_Part):
    """Stops the worse trials early, without waiting for all others (ASHA, Li 2020).

    Rung k is the first validation at or past step min_steps * factor^k. A trial goes on from there if its score is
    among the best 1/factor of those that trials had at that rung before, its own included, or the best of all.
    """

    method: Literal["successive_halving"] = "successive_halving"
    min_steps: int = Field(ge=1, le=100_000_000, description="Step of the first rung.")
    factor: int = Field(default=3, ge=2, le=10, description="Each rung keeps one of so many.")

    def rung_step(self, rung: int) -> int:
        """The step of rung `rung`, counted from 0."""
        return self.min_steps * int(self.factor**rung)


class SweepSpec(_Part):
    """Many jobs that differ in a few fields, to find the values that train best. Never changes after submission."""

    name: Name | None = Field(default=None, description="A name for people.")
    spec: JobSpec = Field(description="The job that every trial is, but for the parameters.")
    parameters: dict[FieldPath, Parameter] = Field(
        min_length=1,
        max_length=16,
        description="Field of the JobSpec (`train.learning_rate`) -> its range, {min, max, log, step}, or {values}.",
    )
    search: SearchSpec = Field(default_factory=SearchSpec)
    objective: ObjectiveSpec = Field(default_factory=ObjectiveSpec)
    budget: SweepBudget = Field(default_factory=SweepBudget, description="A grid ends by itself; all else needs one.")
    max_parallel: int | None = Field(
        default=None, ge=1, le=256, description="Unfinished trials at once; null: as many as there are workers."
    )
    replicates: int = Field(
        default=1, ge=1, le=20, description="Trials of each point, with the seeds train.seed, train.seed + 1, ..."
    )
    early_stopping: SuccessiveHalving | None = Field(default=None, description="null: every trial runs to its end.")
    fuse: Literal["auto", "never"] = Field(
        default="auto",
        description="auto: a worker trains trials that differ in seed, rates, dropout or limits together, where that "
        "is faster; each is its separate run to rounding. never: each trial has a worker of its own.",
    )
    promote_to: ModelId | None = Field(
        default=None, description="Alias that is to stand for the best trial's model in the end."
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict, max_length=16, description="Up to 16 pairs to find the sweep by."
    )


def _natural_goal(metric: str) -> str:
    return "maximize" if "accuracy" in metric else "minimize"
