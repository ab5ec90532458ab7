"""Which points a search tries: the same from the same records, and better than chance where trials tell something."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from rnncore.sweep_spec import SweepSpec
from services.jobqueue.sweeps import Trial
from services.sweeps.halving import goes_on, score_at
from services.sweeps.search import next_point

RATE, SIZE, CELL = "train.learning_rate", "model.hidden_size", "model.cell"
Score = Callable[[dict[str, Any]], float]


def sweep(method: str, **changes: Any) -> SweepSpec:
    parameters = {
        RATE: {"min": 1e-4, "max": 1.0, "log": True},
        SIZE: {"min": 16, "max": 256, "step": 16},
        CELL: {"values": ["rnn", "lstm", None]},
    }
    body = {"spec": {"dataset": "ds-" + "0" * 32}, "parameters": parameters, "search": {"method": method, "seed": 5}}
    return SweepSpec.model_validate(body | {"budget": {"max_trials": 60}} | changes)


def loss(point: dict[str, Any]) -> float:
    """Best at 0.01, 128 units, lstm."""
    return abs(math.log10(point[RATE]) + 2) + abs(point[SIZE] - 128) / 64 + (point[CELL] != "lstm")


def trial(number: int, parameters: dict[str, Any], value: float | None, **fields: Any) -> Trial:
    told = {"number": number, "point": number, "parameters": parameters, "job": f"job-{number}", "value": value}
    return Trial.model_validate(told | {"state": "succeeded"} | fields)


def searched(asked: SweepSpec, count: int, score: Score = loss, **fields: Any) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        point = next_point(asked, trials, number)
        trials.append(trial(number, point, score(point), **fields))
    return trials


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_same_records_give_the_same_point_and_another_number_another(method: str) -> None:
    asked = sweep(method)
    trials = searched(asked, 14)
    again = [Trial.model_validate_json(one.model_dump_json()) for one in trials]
    assert next_point(asked, trials, 14) == next_point(asked, again, 14)
    assert len({tuple(one.parameters.values()) for one in trials}) == 14
    other = next_point(asked.model_copy(update={"search": asked.search.model_copy(update={"seed": 6})}), trials, 14)
    assert other != next_point(asked, trials, 14)


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_points_are_of_the_ranges(method: str) -> None:
    for one in searched(sweep(method), 25):
        assert 1e-4 <= one.parameters[RATE] <= 1.0
        assert one.parameters[SIZE] in range(16, 257, 16)
        assert isinstance(one.parameters[SIZE], int)
        assert one.parameters[CELL] in ("rnn", "lstm", None)


@pytest.mark.parametrize("is_maximized", [False, True])
def test_tpe_learns_from_the_scores_in_the_direction_that_was_asked_for(is_maximized: bool) -> None:
    goal = "maximize" if is_maximized else "minimize"
    sign = -1 if is_maximized else 1
    late = {
        method: [
            loss(one.parameters)
            for one in searched(sweep(method, objective={"goal": goal}), 60, lambda point: sign * loss(point))[30:]
        ]
        for method in ("random", "tpe")
    }
    assert sum(late["tpe"]) < 0.7 * sum(late["random"])


def test_tpe_learns_from_trials_that_were_stopped_early() -> None:
    told = searched(sweep("tpe"), 50, stopped_early="halving", state="cancelled", step=10)
    assert sum(loss(one.parameters) for one in told[25:]) < 0.8 * sum(loss(one.parameters) for one in told[:25])


def test_points_that_still_train_are_kept_away_from_and_failed_ones_tell_nothing() -> None:
    asked = sweep("tpe")
    trials = searched(asked, 20)
    best = min(trials, key=lambda one: one.value or 0.0)
    failed = trial(20, best.parameters, None, state="failed")
    running = trial(20, best.parameters, None, state="running")
    points = {name: next_point(asked, [*trials, one], 21) for name, one in (("failed", failed), ("running", running))}
    assert points["failed"] == next_point(asked, trials, 21)
    assert points["running"] != points["failed"]


def test_scores_of_replicates_count_as_their_mean() -> None:
    asked = sweep("tpe", replicates=2, budget={"max_trials": 80})
    single = sweep("tpe")
    means = searched(single, 15)
    pairs = [
        trial(2 * one.number + half, one.parameters, (one.value or 0.0) + (half - 0.5), point=one.number)
        for one in means
        for half in (0, 1)
    ]
    ours, theirs = next_point(asked, pairs, 15), next_point(single, means, 15)
    assert ours[SIZE] == theirs[SIZE]
    assert math.isclose(ours[RATE], theirs[RATE])


def test_grid_is_walked_in_its_order() -> None:
    asked = sweep("grid", parameters={SIZE: {"values": [32, 64]}, CELL: {"values": ["rnn", "gru"]}})
    points = [tuple(next_point(asked, [], point).values()) for point in range(4)]
    assert points == [(32, "rnn"), (32, "gru"), (64, "rnn"), (64, "gru")]


@pytest.mark.parametrize(
    ("score", "others", "passes"),
    [
        (2.0, [], True),  # alone it is the best of all
        (2.0, [1.9], False),
        (1.8, [1.9], True),
        (2.0, [1.0, 3.0, 4.0, 5.0, 6.0], True),  # second of six, of which two go on
        (3.5, [1.0, 3.0, 4.0, 5.0, 6.0], False),
        (1.0, [1.0, 1.0, 1.0], True),  # equals go on together
    ],
)
def test_one_of_three_goes_on_at_a_rung(score: float, others: list[float], passes: bool) -> None:
    assert goes_on(score, [*others, score], factor=3, is_maximized=False) == passes
    assert goes_on(-score, [-other for other in (*others, score)], factor=3, is_maximized=True) == passes


def test_score_at_a_rung_is_that_of_the_first_validation_there() -> None:
    validations = [(100, 3.0), (200, 2.0), (300, 1.0)]
    assert [score_at(step, validations) for step in (1, 100, 101, 300, 301)] == [3.0, 3.0, 2.0, 1.0, None]
