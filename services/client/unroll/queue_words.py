"""Why a queued job waits, in words. Knows no view and no server."""

from typing import TYPE_CHECKING

from unroll.terminal import duration, one_line

if TYPE_CHECKING:
    from unroll.types import QueuePlace

REASONS = {
    "no_free_worker": "waits for a free worker",
    "backoff": "waits before the next attempt",
    "quota": "waits for its tenant's quota",
    "larger_job": "free workers are kept for a larger job",
    "cluster_grows": "waits for workers that the cluster has to add",
    "no_such_worker": "no worker here could run it",
    "drained": "the service is drained: it takes up no jobs until its operator runs `unroll drain --off`",
}
MOST_NAMED = 3


def waits(place: "QueuePlace") -> str:
    """`position 5, waits for a free worker, behind job-a, job-b and 2 more, starts in about 1m 30s`."""
    said = []
    if place.position is not None:
        said.append(f"position {place.position}")
    if place.reason:
        said.append(one_line(REASONS.get(place.reason, place.reason)))
    if place.blocked_by:
        said.append(f"behind {_named(place.blocked_by)}")
    if place.eta_seconds is not None:
        said.append(f"starts in about {duration(place.eta_seconds)}")
    return ", ".join(said)


def _named(jobs: list[str]) -> str:
    named = [one_line(job) for job in jobs[:MOST_NAMED]]
    more = len(jobs) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
