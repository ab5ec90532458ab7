"""The page of the queue, `/queue`: who waits for what, why and how long; who runs; who may take how much."""

from fastapi import Request
from fastapi.responses import Response

from services.web.site import Site, Visitor


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
        )

    @site.page("/queue")
    def queue(_: Request, visitor: Visitor) -> Response:
        return rendered("queue.html", visitor)

    @site.part("/parts/queue")
    def queue_part(_: Request, visitor: Visitor) -> Response:
        return rendered("queue_state.html", visitor)
