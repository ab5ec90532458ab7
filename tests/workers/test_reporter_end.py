"""How a trainer ends its job: what the queue hears, what stands last in the log, and who may say it."""

from collections.abc import Callable
from typing import Any

import pytest
from desk import Desk

from rnncore.errors import (
    Cancelled,
    InvalidInput,
    LeaseLost,
    NonFiniteLoss,
    Suspended,
    TimedOut,
)


@pytest.mark.parametrize(
    ("error", "how", "line"),
    [
        (Cancelled("gone"), "cancelled", "info cancelled by its owner"),
        (Suspended("suspended at step 1"), "suspended", "info suspended at step 1, to go on later"),
        (NonFiniteLoss("nan"), "failed", "error NonFiniteLoss: nan"),
        (TimedOut("late"), "failed", "error TimedOut: late"),
        (None, "succeeded", "info checkpoint at step 1"),
    ],
    ids=["cancelled", "suspended", "failed", "late", "succeeded"],
)
def test_end_is_told_to_the_queue_and_stands_last_in_the_log(
    desk: Desk, error: Exception | None, how: str, line: str
) -> None:
    desk.checkpoint(1)
    assert desk.run.end(error) == how
    assert desk.record.state == ("queued" if how == "suspended" else how)
    assert desk.lines()[-1] == line
    assert desk.record.parameters_sha256 == (desk.reporter.parameters_sha256 if how == "succeeded" else None)
    if how == "failed":
        assert desk.record.error is not None
        assert desk.record.error.log_tail.splitlines()[-1].endswith(line)


def test_job_that_failed_by_chance_is_tried_again(desk: Desk) -> None:
    assert desk.run.end(OSError("disk")) == "failed"
    assert desk.record.state == "queued"


def test_job_that_did_not_train_a_step_fails_and_says_why(desk: Desk) -> None:
    assert desk.run.end(None) == "failed"
    assert desk.record.error is not None
    assert desk.record.error.message.startswith("nothing is left to train")


@pytest.mark.parametrize("error", [None, ValueError("odd"), Cancelled("gone"), LeaseLost("gone")])
def test_trainer_that_lost_its_lease_leaves_the_end_to_its_successor(desk: Desk, error: Exception | None) -> None:
    desk.checkpoint(1)
    lost = desk.run
    desk.lose_trainer()
    assert lost.end(error) == "lost"
    assert (desk.record.state, desk.record.epoch) == ("running", 2)
    assert not [line for line in desk.lines() if "LeaseLost" in line], "and writes no more"


def test_fault_while_success_is_told_is_how_the_job_ends(desk: Desk) -> None:
    desk.checkpoint(1)
    desk.reporter.say("info", "last words")
    desk.storage.faults = [InvalidInput("broken")]
    assert desk.run.end(None) == "failed"
    assert desk.record.error is not None
    assert desk.record.error.message == "broken"


def test_job_that_took_too_long_hears_it_with_its_last_words(
    open_desk: Callable[..., Desk], until: Callable[..., Any]
) -> None:
    desk = open_desk(timeout_seconds=1e-3)

    def is_late() -> bool:
        try:
            desk.run.held.write()
        except TimedOut:
            return True
        return False

    until(is_late)
    assert desk.run.end(TimedOut("late")) == "failed"
    assert desk.lines() == ["error TimedOut: late"]
