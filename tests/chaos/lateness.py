"""What an epoch still did after a higher one of its job had been handed out, seen from outside the queue.

Redis's log (`redis_proxy`) tells when each epoch was claimed, the witness inside the trainers what they did to storage
and when they stepped. A process that stood still is late by the time that it ran since.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.redis_proxy import Call

ENDS = {"finish", "fail", "suspend", "release", "lose"}


class Deed(NamedTuple):
    """Something a trainer did: "step", "publish" or "delete"; `at` by the monotonic clock."""

    at: float
    pid: int
    job: str
    epoch: int
    what: str
    path: str


class Late(NamedTuple):
    """A deed of an epoch after a higher one was claimed, and for how long its process had run since."""

    deed: Deed
    ran_seconds: float


Claims = dict[str, list[tuple[float, int]]]


def claims_of(calls: Iterable[Call]) -> Claims:
    """Of each job, when which epoch was handed out."""
    claimed: Claims = {}
    for call in calls:
        for row in call.answer if call.script == "claim" else ():
            claimed.setdefault(row[0], []).append((call.answered_at, int(row[2])))
    return claimed


def accepted_after_a_higher_epoch(calls: Sequence[Call]) -> list[str]:
    """Writes that Redis accepted of an epoch although they were sent after a higher one had been handed out."""
    claimed = claims_of(calls)
    found = []
    for call in calls:
        if call.script not in ENDS | {"beat"} or call.answer == "lost":
            continue
        job_id, epoch = call.arguments[0], int(call.arguments[1])
        if any(at < call.sent_at and other > epoch for at, other in claimed.get(job_id, ())):
            found.append(f"{call.script} of {job_id}, epoch {epoch}: {json.dumps(call.answer)}")
    return found


def read_deeds(folder: Path) -> list[Deed]:
    """All that the witness noted; the last line of a killed process may be cut short."""
    lines = (line for path in folder.glob("*.jsonl") for line in path.read_text().split("\n"))
    return [Deed(*json.loads(line)) for line in lines if line.endswith("]")]


def late_deeds(deeds: Iterable[Deed], claimed: Claims, pauses: Sequence[tuple[int, float, float]]) -> list[Late]:
    """Deeds after a higher epoch had been handed out. `pauses` are (pid, from, to) in which a process stood still."""
    late = []
    for deed in deeds:
        higher = [at for at, epoch in claimed.get(deed.job, ()) if epoch > deed.epoch and at < deed.at]
        if higher:
            since = min(higher)
            stood = sum(
                max(0.0, min(deed.at, end) - max(since, start)) for pid, start, end in pauses if pid == deed.pid
            )
            late.append(Late(deed, deed.at - since - stood))
    return late


def table(late: Sequence[Late], deeds: Sequence[Deed]) -> dict[str, Any]:
    """For each kind of deed: how many, how many late, and the longest that a process ran before one of them."""
    return {
        what: {
            "seen": sum(deed.what == what for deed in deeds),
            "late": sum(one.deed.what == what for one in late),
            "after_seconds": round(max((one.ran_seconds for one in late if one.deed.what == what), default=0.0), 3),
        }
        for what in ("step", "publish", "delete")
    }
