"""A trainer whose storage is full, away or broken waits, tells its owner, and loses nothing."""

from pathlib import Path

import pytest
from desk import Desk

from rnncore.errors import (
    Cancelled,
    StorageFull,
    Unavailable,
)
from services import layout
from tests.services.queue_samples import TENANT
from workers import reporter as reporting


def test_storage_that_is_full_or_away_is_waited_for_and_the_owner_told_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_TRY_SECONDS", 1e-3)
    desk.storage.faults = [StorageFull("full"), Unavailable("away"), Unavailable("away")]
    desk.checkpoint(1)
    assert desk.kept() == [1]
    assert desk.events("message") == [{"level": "warning", "text": "waits: full"}]


def test_checkpoint_waits_for_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_TRY_SECONDS", 1e-3)
    desk.storage.num_full = 2
    desk.checkpoint(1)
    assert desk.kept() == [1]
    assert desk.events("message") == [{"level": "warning", "text": "waits: full"}]


def test_job_that_waits_for_storage_hears_of_its_cancel(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_TRY_SECONDS", 1e-3)

    def never_there() -> None:
        desk.queue.cancel(TENANT, desk.job)
        raise Unavailable("away")

    with pytest.raises(Cancelled):
        desk.reporter.patiently(never_there)
    assert desk.run.end(Cancelled("")) == "cancelled"


def test_longer_waits_are_between_later_tries_and_the_queue_is_asked_every_second(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tried, asked = [0.0], [], []
    monkeypatch.setattr(reporting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(reporting.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def there_at_last() -> None:
        tried.append(now[0])
        if len(tried) < 8:
            raise Unavailable("away")

    monkeypatch.setattr(desk.run.held, "write", lambda **_: asked.append(now[0]))
    desk.reporter.patiently(there_at_last)
    assert tried == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0]
    assert sorted({*asked}) == [float(second) for second in range(92)]


def test_draft_of_a_checkpoint_that_fails_is_deleted(desk: Desk) -> None:
    desk.storage.faults = [ValueError("broken")]
    with pytest.raises(ValueError, match="broken"):
        desk.checkpoint(1)
    assert list((Path(desk.storage.url) / layout.DRAFTS).iterdir()) == []
    assert desk.kept() == []


def test_history_that_could_not_be_written_is_tried_again_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_time_at_all = -1.0
    monkeypatch.setattr(reporting, "_LAST_TRIES_SECONDS", (0.0, 0.0, 0.0, no_time_at_all))
    desk.reporter.say("info", "one")
    desk.storage.faults = [Unavailable("away"), OSError("away")]
    desk.reporter.close()
    assert desk.lines() == ["info one"]
    monkeypatch.setattr(reporting, "_LAST_TRIES_SECONDS", (0.0, 0.0, 0.0))
    desk.storage.faults = [OSError("away")] * 9
    desk.reporter.say("info", "two")
    desk.reporter.close()
    assert len(desk.storage.faults) == 6, "it is given up"
