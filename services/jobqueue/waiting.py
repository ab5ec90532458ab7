"""When a queued job will start: an estimate from where it stands and how long jobs took. Knows no Redis."""

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

from services.jobqueue.records import QueuePlace

_UNKNOWN = float("inf")


def queue_places(answer: Mapping[str, Any], tenants: list[str]) -> list[QueuePlace | None]:
    """The places in the answer of places.lua, of jobs of `tenants`; None for a job that waits nowhere any more."""
    return [
        QueuePlace(
            position=place["position"],
            reason=place["reason"],
            blocked_by=place.get("blocked_by") or [],
            eta_seconds=_eta_seconds(answer, place, tenant),
        )
        if "position" in place
        else None
        for place, tenant in zip(answer["places"], tenants, strict=True)
    ]


def _eta_seconds(answer: Mapping[str, Any], place: Mapping[str, Any], tenant: str) -> float | None:
    """Seconds until the job starts if all jobs take as long as those before took; None where nothing is known.

    W workers end their present jobs after r_1 <= ... <= r_W seconds and take the next in turn, each for a mean duration
    d: number n of the queue starts after r_((n-1) mod W + 1) + d * floor((n-1) / W). A gang ends on all of its workers
    at once; one that waits takes the place of its last worker.
    """
    if place["reason"] in ("cluster_grows", "no_such_worker", "drained"):
        return None
    if place["reason"] == "backoff":
        return float(max(0, place["due"] - answer["present"]) / 1000)
    durations: Mapping[str, float] = answer["durations"] or {}
    mean = durations.get(f"tenant:{tenant}", durations.get("all"))
    held_back = place["reason"] == "quota"
    held: dict[str, list[float]] = {}  # by job, or by group: a worker that trains several is free after the last
    for job in answer["running"] or []:
        if not held_back or job["tenant"] == tenant:
            last = max([_remaining(job, answer["present"], mean), *held.get(job["held_by"], [])])
            held[job["held_by"]] = [last] * job["workers"]
    ends = sorted(chain.from_iterable(held.values()))
    capacity = answer["capacity"] or {}
    if not held_back:
        ends = [0.0] * max(0, int(capacity.get("cpu", 0) + capacity.get("gpu", 0)) - len(ends)) + ends
    if not ends:
        return None
    number: int = place["own_position" if held_back else "position"] + place.get("least", 1) - 1
    rounds, turn = divmod(number - 1, len(ends))
    if mean is None and (rounds or ends[turn] == _UNKNOWN):
        return None
    return round(ends[turn] + rounds * (mean or 0) / 1000, 1)


def _remaining(job: Mapping[str, Any], present: float, mean: float | None) -> float:
    """Seconds until a running job ends: as it says itself, else as the mean (ms) has it."""
    eta = json.loads(job["progress"]).get("eta_seconds") if job["progress"] else None
    if eta is not None:
        return float(eta)
    if mean is None:
        return _UNKNOWN
    elapsed: float = present - job["claimed_at"]
    return max(0.0, mean - elapsed) / 1000
