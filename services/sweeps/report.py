"""A sweep summed up: how its trials stand, the best of them, and each point over its replicates. Pure functions."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean, stdev

from pydantic import BaseModel, ConfigDict, Field

from rnncore.sweep_spec import Scalar
from services.jobqueue.sweeps import Sweep, Trial, TrialState

MOST_POINTS = 100


class PointReport(BaseModel):
    """The values that some trials share, and how these did."""

    model_config = ConfigDict(frozen=True)

    point: int
    parameters: dict[str, Scalar]
    trials: list[int] = Field(description="Numbers of its trials.")
    mean: float | None = Field(description="Mean objective of those that have one.")
    spread: float | None = Field(description="Their standard deviation (n - 1); null where fewer than two have one.")


class SweepReport(Sweep):
    """A sweep and what came of it so far."""

    trials: dict[TrialState, int] = Field(description="How many trials are in each state.")
    num_stopped_early: int
    worker_seconds: float
    best: Trial | None = Field(description="The best trial of the best point.")
    points: list[PointReport] = Field(description=f"The best first, {MOST_POINTS} at most.")


def best_trial(sweep: Sweep, trials: Sequence[Trial]) -> Trial | None:
    """The best trial of the best point; None while no trial has a score."""
    points = _points(sweep, trials)
    if not points or points[0].mean is None:
        return None
    of_point = [trial for trial in trials if trial.point == points[0].point and trial.value is not None]
    return min(of_point, key=lambda trial: _sign(sweep) * (trial.value or 0.0))


def report(sweep: Sweep, trials: Sequence[Trial]) -> SweepReport:
    """`trials` are all that the sweep has, by number."""
    return SweepReport(
        **sweep.model_dump(exclude={"spec", "num_trials"}),
        spec=sweep.spec,
        num_trials=len(trials),
        trials=dict(Counter(trial.state for trial in trials)),
        num_stopped_early=sum(trial.stopped_early is not None for trial in trials),
        worker_seconds=round(sum(trial.worker_seconds for trial in trials), 3),
        best=best_trial(sweep, trials),
        points=_points(sweep, trials)[:MOST_POINTS],
    )


def _points(sweep: Sweep, trials: Sequence[Trial]) -> list[PointReport]:
    """The best first; those whose replicates do not all have a score yet come behind the others, those without last."""
    replicates = sweep.spec.replicates if sweep.spec else 1
    found = []
    for point, group in groupby(trials, key=lambda trial: trial.point):
        members = list(group)
        scores = [trial.value for trial in members if trial.value is not None]
        told = PointReport(
            point=point,
            parameters=members[0].parameters,
            trials=[trial.number for trial in members],
            mean=fmean(scores) if scores else None,
            spread=stdev(scores) if len(scores) > 1 else None,
        )
        found.append((not scores, len(scores) < replicates, _sign(sweep) * (told.mean or 0.0), point, told))
    return [entry[-1] for entry in sorted(found, key=lambda entry: entry[:-1])]


def _sign(sweep: Sweep) -> int:
    return -1 if sweep.spec and sweep.spec.objective.is_maximized else 1
