"""A sweep, its trials and how they did, as the server answers it."""

from typing import Any

from pydantic import Field

from unroll.types.answer import TERMINAL_STATES, Answer
from unroll.types.jobs import JobError


class Sweep(Answer):
    """One sweep: what was asked for (`spec`) and how it stands. Times in Unix seconds."""

    id: str
    object: str = "sweep"
    state: str
    spec: dict[str, Any] | None = None
    tenant: str | None = None
    created_at: float
    finished_at: float | None = None
    num_trials: int = 0
    cancel_requested: bool = False
    error: str | None = None
    warning: str | None = None

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL_STATES


class Trial(Answer):
    """One trial of a sweep: the values it tried, and what became of its job."""

    object: str = "trial"
    number: int
    point: int = 0
    parameters: dict[str, Any] = Field(default_factory=dict)
    job: str | None = None
    state: str
    value: float | None = None
    step: int = 0
    rungs: list[float] = Field(default_factory=list)
    stopped_early: str | None = None
    worker_seconds: float = 0.0
    error: JobError | None = None


class Point(Answer):
    """Values that some trials of a sweep share, and how these did."""

    point: int
    parameters: dict[str, Any] = Field(default_factory=dict)
    trials: list[int] = Field(default_factory=list)
    mean: float | None = None
    spread: float | None = None


class SweepReport(Sweep):
    """A sweep and what came of it so far: trials by state, the best one, points with mean and spread, best first."""

    trials: dict[str, int] = Field(default_factory=dict)
    num_stopped_early: int = 0
    worker_seconds: float = 0.0
    best: Trial | None = None
    points: list[Point] = Field(default_factory=list)
