"""The run list, `/`: the jobs of the tenant as a table that is sorted, filtered, paged, and kept current.

The address says all that is shown; `JobQuery` is what the queue makes of it.
"""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, cast, get_args
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from rnncore.errors import UnrollError
from services.jobqueue.listing import JobQuery, Order
from services.jobqueue.records import JobState
from services.web.site import HEADERS, Site, Visitor

_ORDERS = get_args(Order)
# Clicked for the first time, a column shows first what one looks for in it.
_REVERSED_FIRST = ("progress", "speed")
_LONGEST = 200
_MOST_WATCHED = 200


class Column(NamedTuple):
    """A column head: what it says, how it sorts, the address that sorts by it, and which way it does by now."""

    order: str
    words: str
    classes: str
    address: str
    sorted: str | None


_COLUMNS = (
    ("state", "State", ""),
    ("name", "Run", ""),
    ("network", "Network", "extra"),
    ("dataset", "Data set", "extra"),
    ("progress", "Progress", "extra"),
    ("best", "Best bits/char", "number"),
    ("speed", "Characters/s", "number extra"),
    ("age", "Age", "number extra"),
)


class _Asked(NamedTuple):
    """The address of a view of the list, understood: `told` is what of it was, `refused` what was not."""

    query: JobQuery
    told: Mapping[str, str]
    refused: list[str]

    def address(self, **changes: str | int | None) -> str:
        """That of the same view but for `changes`; without a change of page it starts at the first again."""
        parts = {
            name: value for name, value in {**self.told, "page": None, **changes}.items() if value not in (None, "")
        }
        return "/?" + urlencode(parts) if parts else "/"


def add(site: Site) -> None:
    """`/`; `/parts/runs`, the list alone; `/parts/runs/changes`, when to ask for it."""

    def render(template: str, request: Request, visitor: Visitor) -> Response:
        asked = _asked(request)
        listing = site.sources.find_jobs(visitor.tenant, asked.query)
        datasets = site.sources.names_of_datasets(job.spec.dataset for job in listing.jobs if job.spec)
        pages = max(1, -(-listing.num_found // asked.query.size))
        return site.render(
            template,
            visitor,
            asked=asked,
            listing=listing,
            datasets=datasets,
            pages=pages,
            columns=_columns(asked),
            states=list(JobState),
        )

    @site.page("/")
    def runs(request: Request, visitor: Visitor) -> Response:
        if job := request.query_params.get("job"):  # how a run was addressed before it had a page
            return site.redirect(site.own(f"/jobs/{job}"))
        return render("runs.html", request, visitor)

    @site.part("/parts/runs")
    def runs_part(request: Request, visitor: Visitor) -> Response:
        return render("runs_table.html", request, visitor)

    @site.router.get("/parts/runs/changes")
    async def changes(request: Request) -> Response:
        visitor = await run_in_threadpool(site.visitor, request)
        if visitor is None:
            return Response(status_code=401, headers=HEADERS)
        watched = [name for name in request.query_params.get("jobs", "").split(",") if name][:_MOST_WATCHED]
        own = await run_in_threadpool(_own, site, visitor, watched)
        return StreamingResponse(_frames(site, request, visitor, own), media_type="text/event-stream", headers=HEADERS)


def _own(site: Site, visitor: Visitor, jobs: list[str]) -> list[str]:
    """Those of `jobs` that are the visitor's."""
    return [job for job in jobs if site.sources.get_job(visitor.tenant, job)]


async def _frames(site: Site, request: Request, visitor: Visitor, jobs: list[str]) -> AsyncIterator[str]:
    """An event for each change; what changed is asked for again, in the words of the page. Ends with the session."""
    yield ": open\n\n"
    try:
        async for changed in site.sources.changes(visitor.tenant, jobs):
            if await run_in_threadpool(site.visitor, request) is None:
                return
            yield "event: changed\ndata: \n\n" if changed else ": keep-alive\n\n"
    except UnrollError:
        return  # the browser comes back by itself


def _asked(request: Request) -> _Asked:
    """What the address asks for; a part of it that makes no sense is left out and named."""
    given = {name: value[:_LONGEST] for name, value in request.query_params.items()}
    refused = []
    state, order, pair = given.get("state", ""), given.get("sort", "age"), given.get("metadata", "")
    if state and state not in list(JobState):
        refused.append(f"no state {state}; there are {', '.join(JobState)}")
        state = ""
    if order not in _ORDERS:
        refused.append(f"no column {order} to sort by; there are {', '.join(_ORDERS)}")
        order = "age"
    if pair and "=" not in pair:
        refused.append(f"metadata is looked for by key=value, not by {pair}")
        pair = ""
    page = given.get("page", "1")
    if not page.isascii() or not page.isdigit() or not 1 <= int(page) <= 100_000:
        refused.append(f"no page {page}; pages count from 1")
        page = "1"
    key, _, value = pair.partition("=")
    query = JobQuery(
        state=JobState(state) if state else None,
        text=given.get("q", "").strip(),
        metadata=(key, value) if pair else None,
        sweep=given.get("sweep", "").strip(),
        order=cast(Order, order),
        is_reversed=given.get("reverse") == "1",
        page=int(page),
    )
    told = {
        "state": state,
        "q": query.text,
        "metadata": pair,
        "sweep": query.sweep,
        "sort": order if order != "age" else "",
        "reverse": "1" if query.is_reversed else "",
        "page": page if page != "1" else "",
    }
    return _Asked(query, told, refused)


def _columns(asked: _Asked) -> list[Column]:
    columns = []
    for order, words, classes in _COLUMNS:
        is_present = order == asked.query.order
        reverse = not asked.query.is_reversed if is_present else order in _REVERSED_FIRST
        address = asked.address(sort=order if order != "age" else None, reverse="1" if reverse else None)
        # The newest come first, so that ages rise.
        direction = "descending" if asked.query.is_reversed else "ascending"
        columns.append(Column(order, words, classes, address, direction if is_present else None))
    return columns
