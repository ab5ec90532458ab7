"""Which point to try next: a pure function of what was asked for and of the trials so far. Knows no queue.

Optuna is asked anew each time, with a study made of the trials' records and a seed made of the number of the point: the
records are the one truth, and whoever asks after a crash gets the same answer. A grid needs no search.
"""

import itertools
import warnings
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rnncore.sweep_points import grid, is_whole
from rnncore.sweep_spec import Choices, SweepSpec
from services.jobqueue.sweeps import Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)
# Seeds of points of two sweeps with neighbouring seeds shall not be the same ones.
_SEED_STRIDE = 10_007
# So many points tpe draws before it looks at any score.
_RANDOM_POINTS = 10


def learns(sweep: SweepSpec, point: int) -> bool:
    """Whether point `point` depends on how those before it went."""
    return sweep.search.method == "tpe" and point >= _RANDOM_POINTS


def next_point(sweep: SweepSpec, trials: Sequence[Trial], point: int) -> dict[str, Any]:
    """The values of point `point`, counted from 0, where `trials` are all those of the points before."""
    if sweep.search.method == "grid":
        return next(itertools.islice(grid(sweep), point, None))
    seed = (sweep.search.seed * _SEED_STRIDE + point) % 2**32
    sampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if sweep.search.method == "random"
        else optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_POINTS)
    )
    distributions = {path: _distribution(sweep, path) for path in sweep.parameters}
    direction = StudyDirection.MAXIMIZE if sweep.objective.is_maximized else StudyDirection.MINIMIZE
    study = optuna.create_study(sampler=sampler, direction=direction)
    if sweep.search.method == "tpe":
        study.add_trials(_history(sweep, trials, distributions))
    return dict(study.ask(distributions).params)


def _history(
    sweep: SweepSpec, trials: Sequence[Trial], distributions: dict[str, BaseDistribution]
) -> list[FrozenTrial]:
    """One trial of Optuna's for each point that has a score, the mean of its replicates.

    A point that has none yet counts as the worst so far, so that nobody else looks there meanwhile (constant liar,
    Ginsbourger 2010). One that failed tells nothing.
    """
    points = [list(group) for _, group in itertools.groupby(trials, key=lambda trial: trial.point)]
    known = [trial.value for trial in trials if trial.value is not None]
    worst = (min if sweep.objective.is_maximized else max)(known, default=None)
    history = []
    for group in points:
        scores = [trial.value for trial in group if trial.value is not None]
        is_over = all(trial.is_over for trial in group)
        score = fmean(scores) if scores and is_over else None if is_over else worst
        if score is None:
            continue
        was_stopped = is_over and all(trial.stopped_early for trial in group)
        history.append(
            optuna.create_trial(
                state=TrialState.PRUNED if was_stopped else TrialState.COMPLETE,
                params={path: group[0].parameters[path] for path in distributions},
                distributions=distributions,
                value=None if was_stopped else score,
                intermediate_values={max(trial.step for trial in group): score} if was_stopped else None,
            )
        )
    return history


def _distribution(sweep: SweepSpec, path: str) -> BaseDistribution:
    asked = sweep.parameters[path]
    if isinstance(asked, Choices):
        return CategoricalDistribution(asked.values)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that max is no whole number of steps from min; the last step before it is meant
        if is_whole(path):
            return IntDistribution(int(asked.min), int(asked.max), log=asked.log, step=int(asked.step or 1))
        return FloatDistribution(asked.min, asked.max, log=asked.log, step=asked.step)
