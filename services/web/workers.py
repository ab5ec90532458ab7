"""The page of the workers, `/workers`: nodes, the seats of each, and who sits there."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from fastapi import Request
from fastapi.responses import Response

from services.jobqueue.floor import Worker
from services.web.site import Site, Visitor


def add(site: Site) -> None:
    """The page, and all of it that changes."""

    def rendered(template: str, visitor: Visitor) -> Response:
        found = site.sources.shelves.workers(visitor.seen)
        line = site.sources.shelves.line(visitor.seen)
        return site.render(
            template,
            visitor,
            nodes=nodes(found),
            workers=found,
            states=Counter(worker.state for worker in found),
            gangs=gangs(found),
            names={job.id: job for job in line.running},
            drained=site.sources.shelves.drained(),
        )

    @site.page("/workers")
    def workers(_: Request, visitor: Visitor) -> Response:
        return rendered("workers.html", visitor)

    @site.part("/parts/workers")
    def workers_part(_: Request, visitor: Visitor) -> Response:
        return rendered("workers_state.html", visitor)


def nodes(workers: Sequence[Worker]) -> list[list[Worker]]:
    """The workers of each node."""
    by_node = sorted(workers, key=lambda worker: (worker.host, worker.node, worker.id))
    return [list(group) for _, group in groupby(by_node, key=lambda worker: worker.node)]


def gangs(workers: Sequence[Worker]) -> dict[str, int]:
    """Job -> how many workers it has, where it has several."""
    held = Counter(one.job for worker in workers for one in worker.jobs)
    return {job: number for job, number in held.items() if number > 1}
