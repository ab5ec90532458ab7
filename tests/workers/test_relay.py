"""What a trainer counts for the service: every step between two checkpoints once, taken along by a later report."""

import math

import pytest

from rnncore.loop import Point
from services.metrics.queue import TRAIN_STEP_DURATION
from workers import relay
from workers.relay import Relay


def point(step: int, *, characters: int, seconds: float, clipped: int = 0) -> Point:
    return Point(step, characters, 1.5, 0.5, clipped, 0.01, 9.0, seconds, 0.1, 3.0, None, {})


def of_steps(totals: dict[str, int]) -> dict[str, int]:
    """Totals of step durations, by bucket."""
    start = f"histogram:{TRAIN_STEP_DURATION.name}:gru:"
    return {name.removeprefix(start): amount for name, amount in totals.items() if name.startswith(start)}


def test_steps_between_two_reports_are_counted_with_their_mean() -> None:
    counting = Relay("gru")
    counting.trained(point(1, characters=30, seconds=0.5))
    counting.trained(point(11, characters=330, seconds=0.52, clipped=7))
    assert counting.take() == {
        "steps:gru": 11,
        "characters:gru": 330,
        "clipped:gru": 7,
        f"histogram:{TRAIN_STEP_DURATION.name}:gru:9": 1,  # half a second
        f"histogram:{TRAIN_STEP_DURATION.name}:gru:2": 10,  # two milliseconds each
        f"histogram:{TRAIN_STEP_DURATION.name}:gru:millionths": 520_000,
    }


def test_what_was_taken_is_not_told_again() -> None:
    counting = Relay("gru")
    counting.trained(point(3, characters=90, seconds=3.0))
    counting.take()
    counting.trained(point(4, characters=120, seconds=3.2))
    totals = counting.take()
    assert (totals["steps:gru"], totals["characters:gru"]) == (1, 30)
    assert of_steps(totals) == {"8": 1, "millionths": 200_000}
    assert counting.take() == {}


def test_resumed_run_counts_from_its_checkpoint() -> None:
    counting = Relay("gru")
    counting.resumed(step=40, characters=1200, seconds=8.0)
    counting.trained(point(42, characters=1260, seconds=8.02))
    totals = counting.take()
    assert (totals["steps:gru"], totals["characters:gru"]) == (2, 60)
    assert of_steps(totals) == {"4": 2, "millionths": 20_000}


def test_point_without_a_new_step_times_nothing() -> None:
    """A run that was suspended tells where it stands once more."""
    counting = Relay("gru")
    counting.resumed(step=40, characters=1200, seconds=8.0)
    counting.trained(point(40, characters=1200, seconds=8.0))
    assert of_steps(counting.take()) == {}


def test_storage_faults_and_checkpoints_are_counted() -> None:
    counting = Relay("gru")
    counting.storage_failed("unavailable")
    counting.storage_failed("unavailable")
    counting.published(math.pi)
    name = "histogram:unroll_train_checkpoint_duration_seconds:"
    assert counting.take() == {"storage_faults:unavailable": 2, f"{name}:8": 1, f"{name}:millionths": 3_141_593}


def test_totals_are_due_a_second_after_they_were_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(relay.time, "monotonic", lambda: now)
    counting = Relay("gru")
    assert not counting.is_due
    now = 101.0
    assert counting.is_due
    counting.take()
    assert not counting.is_due
