"""The page of the queue, `/queue`: who waits for what, why and how long; who runs; who may take how much."""

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response

from services.web.site import Site, Visitor

REASONS: Mapping[str, str] = {
    "no_free_worker": "every worker is taken",
    "backoff": "pauses before its next attempt",
    "quota": "its tenant has as many workers as it may",
    "larger_job": "free workers are kept for a larger job",
    "cluster_grows": "needs workers that the cluster has to add",
    "no_such_worker": "no worker here could run it",
    "drained": "the service takes up no jobs: its operator drained it",
}


def add(site: Site) -> None:
    """The page, and all of it that changes."""

    def rendered(template: str, visitor: Visitor) -> Response:
        shelves = site.sources.shelves
        line = shelves.line(visitor.seen)
        return site.render(
            template,
            visitor,
            line=line,
            known={job.id: job for job in (*line.waiting, *line.running, *line.paused)},
            shares=shelves.shares(visitor.tenant, visitor.seen),
            workers=shelves.workers(visitor.seen),
            drained=shelves.drained(),
            reasons=REASONS,
        )

    @site.page("/queue")
    def queue(_: Request, visitor: Visitor) -> Response:
        return rendered("queue.html", visitor)

    @site.part("/parts/queue")
    def queue_part(_: Request, visitor: Visitor) -> Response:
        return rendered("queue_state.html", visitor)
