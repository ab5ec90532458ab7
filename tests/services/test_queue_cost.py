"""What a worker costs Redis: the figures of docs/how-to/operations.md, counted and not timed."""

import re
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from queue_samples import LEASE_SECONDS, submit

from rnncore.loop import Point
from services.jobqueue import claims
from services.jobqueue.claims import BEAT_SECONDS, ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from tests.conftest import wait_until
from workers.relay import RELAY_SECONDS, Relay
from workers.reporter import PROGRESS_SECONDS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "how-to" / "operations.md").read_text()


def figure(what: str) -> float:
    """The number in a row of the page's table."""
    found = re.search(rf"^\| {re.escape(what)} \| ([0-9.]+) \|$", PAGE, re.MULTILINE)
    assert found is not None, what
    return float(found[1])


def commands(scripts: RedisScripts) -> int:
    """How many commands Redis has carried out, those within scripts included, the script itself not."""
    stats: dict[str, Any] = scripts.redis.info("commandstats")
    own = ("cmdstat_evalsha", "cmdstat_info", "cmdstat_config|resetstat")
    return sum(about["calls"] for name, about in stats.items() if name not in own)


@pytest.fixture
def job(queue: JobQueue, scripts: RedisScripts) -> ClaimedJob:
    submit(queue)
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    job = ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)
    job.write()  # the script is known from now on
    scripts.redis.config_resetstat()
    return job


def test_commands_of_a_beat(job: ClaimedJob, scripts: RedisScripts) -> None:
    held = job.claim
    scripts.run("beat", held.job, held.epoch, held.token, 1000, 0, 0, 0, 0, 0, 0)
    assert commands(scripts) == figure("commands of a beat")


REPORT: dict[str, Any] = {
    "fields": {"progress": {"step": 3}, "last": {"step": 3}},
    "events": [("metrics", {"step": 3})],
}


def test_commands_of_a_report(job: ClaimedJob, scripts: RedisScripts) -> None:
    job.write(**REPORT)
    assert commands(scripts) == figure("commands of a report")


def test_commands_of_a_report_that_takes_totals_along(job: ClaimedJob, scripts: RedisScripts) -> None:
    counting = Relay("lstm")
    told: dict[str, Any] = dict.fromkeys(Point._fields, 0)
    counting.trained(Point(**told | {"step": 10, "characters": 100, "clipped_steps": 3, "training_seconds": 0.2}))
    job.write(**REPORT, totals=counting.take())
    assert commands(scripts) == figure("commands of a report that takes totals along, one a second")
    assert RELAY_SECONDS == 1


def test_calls_a_second() -> None:
    assert figure("calls a second of a worker that reports") == 1 / PROGRESS_SECONDS
    assert figure("calls a second of a worker that only beats") == round(1 / BEAT_SECONDS, 2)


class Clocked:
    """In place of RedisScripts: notes when each thread called a script."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, bool]] = []

    def run(self, *_: Any) -> str:
        self.calls.append((time.monotonic(), threading.current_thread() is threading.main_thread()))
        return "ok"


def test_no_beat_is_sent_where_a_report_has_just_renewed_the_lease(job: ClaimedJob) -> None:
    clocked = Clocked()
    until = time.monotonic() + 4 * BEAT_SECONDS
    with ClaimedJob(clocked, job.claim, lease_seconds=LEASE_SECONDS) as reporting:  # type: ignore[arg-type]
        while time.monotonic() < until:
            reporting.write()
            threading.Event().wait(0.01)
        wait_until(lambda: not clocked.calls[-1][1])  # and beats go on when reports have ended
    for (before, _), (at, is_report) in pairwise(clocked.calls):
        assert is_report or at - before >= 0.9 * BEAT_SECONDS
