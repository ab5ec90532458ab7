"""What every page stands on: who looks at it, what it may read, how it is written. Knows no page and no queue.

A page is a module with `add(site)`, one line in `pages.py`, a template and, where it lives, an ES module. Handlers are
plain functions, so what they read may block. What a page shows live it asks of /v1 itself.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rnncore.errors import UnrollError
from services.faults import error_answer
from services.jobqueue.listing import JobQuery, Listing
from services.jobqueue.records import Checkpoint, Dataset, JobRecord
from services.web import sessions, text
from services.web.shelves import Shelves

HERE = Path(__file__).parent
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Not no-referrer: a browser would then send `Origin: null` with the page's own POSTs.
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
_PUSH_SECONDS = 1.0
_PATIENCE = 10  # what takes long to write is looked at less often
# An own path: one slash, then neither a second one nor a backslash, which a browser reads as one.
_OWN_PATH = re.compile(r"/(?![/\\])[!-~]{0,2000}")


class Holder(NamedTuple):
    """Who a key is and what it may do."""

    tenant: str
    scopes: frozenset[str]


class Visitor(NamedTuple):
    """Who looks at a page, by a session whose key still lives."""

    tenant: str
    scopes: frozenset[str]
    csrf: str
    path: str

    @property
    def seen(self) -> str | None:
        """Whose jobs to show in what all tenants share: None, those of all, to an admin."""
        return None if "admin" in self.scopes else self.tenant


@dataclass(frozen=True)
class Sources:
    """All that the pages read. `check_key` turns a raw API key into its id, `holder` an id into whose it is.

    The others take a tenant; what is not there is None. `changes` tells which of some jobs something happened to, and
    which are new, every second or so.
    """

    secret: bytes
    version: str
    check_key: Callable[[str], str | None]
    holder: Callable[[str], Holder | None]
    find_jobs: Callable[[str, JobQuery], Listing]
    names_of_datasets: Callable[[Iterable[str]], Mapping[str, str]]
    changes: Callable[[str, Sequence[str]], AsyncIterator[list[str]]]
    get_job: Callable[[str, str], JobRecord | None]
    checkpoints: Callable[[str, str], Sequence[Checkpoint]]
    datasets: Callable[[str], Sequence[Dataset]]
    shelves: Shelves
    clock: Callable[[], float] = time.time


class NavEntry(NamedTuple):
    """A place in the header. `under`: the first part of further paths that belong to it."""

    words: str
    path: str
    under: tuple[str, ...] = ()

    def is_at(self, path: str) -> bool:
        return path == self.path or path.split("/")[1] in (*self.under, self.path[1:] or None)


Handler = Callable[[Request, Visitor], Response]


class Site:
    """The pages and the door they share. `router` is what to mount; `owns` tells its paths."""

    def __init__(self, sources: Sources, navigation: Sequence[NavEntry]) -> None:
        self.sources = sources
        self.router = APIRouter(include_in_schema=False)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,  # a name that a template misspells is an error
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"text": text, "version": sources.version, "navigation": navigation}

    def page(self, path: str) -> Callable[[Handler], Handler]:
        """Answers `path` by a handler of (request, visitor); who is not logged in is led to the login and back."""

        def add(handler: Handler) -> Handler:
            answer = self._answering(handler, lambda request: self.redirect("/login" + _next(request)))
            self.router.add_api_route(path, answer, methods=["GET"], response_model=None)
            return handler

        return add

    def part(self, path: str) -> Callable[[Handler], Handler]:
        """As `page`, for what a page fetches: who is not logged in gets 401.

        With `Accept: text/event-stream` it is pushed, as one JSON string, whenever it has become another; the stream
        ends where the part is there no more, and with the session.
        """

        def add(handler: Handler) -> Handler:
            answer = self._answering(handler, lambda _: Response(status_code=401, headers=HEADERS))

            async def part(request: Request) -> Response:
                first = await run_in_threadpool(answer, request)
                if first.status_code != 200 or "text/event-stream" not in request.headers.get("accept", ""):
                    return first
                frames = _pushed(first, lambda: answer(request))
                return StreamingResponse(frames, media_type="text/event-stream", headers=HEADERS)

            self.router.add_api_route(path, part, methods=["GET"], response_model=None)
            return handler

        return add

    def _answering(self, handler: Handler, stranger: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            visitor = None
            try:
                visitor = self.visitor(request)
                return stranger(request) if visitor is None else handler(request, visitor)
            except UnrollError as error:
                return self.render("trouble.html", visitor, error_answer(error)[0], message=str(error))

        return answer

    def visitor(self, request: Request) -> Visitor | None:
        """Whose session it is; None for one that is forged, over, or of a key that was revoked."""
        cookie = request.cookies.get(sessions.COOKIE_NAME, "")
        key_id = sessions.verify(self.sources.secret, cookie, self.sources.clock())
        holder = None if key_id is None else self.sources.holder(key_id)
        if holder is None:
            return None
        return Visitor(*holder, sessions.csrf_token(self.sources.secret, cookie), request.url.path)

    def render(self, template: str, visitor: Visitor | None, status: int = 200, **values: object) -> HTMLResponse:
        """A page; templates see `visitor`, `now`, `navigation`, `version`, `text` and `values`."""
        page = self._templates.get_template(template)
        return HTMLResponse(page.render(visitor=visitor, now=self.sources.clock(), **values), status, HEADERS)

    def not_found(self, visitor: Visitor, what: str) -> HTMLResponse:
        """The page that says that `what` is not there."""
        return self.render("not_found.html", visitor, 404, what=what)

    def redirect(self, path: str) -> RedirectResponse:
        return RedirectResponse(path, 303, HEADERS)

    def own(self, path: str) -> str:
        """`path` where it leads to a page of ours, else home: no address from outside is followed."""
        is_own = _OWN_PATH.fullmatch(path) and self.owns(path.partition("?")[0])
        return path if is_own and not path.startswith(("/login", "/logout", "/parts/")) else "/"

    def owns(self, path: str) -> bool:
        """Whether a page answers `path`, which then sends strangers to the login itself."""
        return any(route.path_regex.match(path) for route in self.router.routes)  # type: ignore[attr-defined]  # all are Routes


async def _pushed(first: Response, render: Callable[[], Response]) -> AsyncIterator[str]:
    """A frame with the part for each answer that differs from the one before."""
    page, shown, took = first, b"", 0.0
    while page.status_code == 200:
        body = bytes(page.body)
        yield ": keep-alive\n\n" if body == shown else f"event: part\ndata: {json.dumps(body.decode())}\n\n"
        shown = body
        await asyncio.sleep(max(_PUSH_SECONDS, _PATIENCE * took))
        began = time.monotonic()
        page = await run_in_threadpool(render)
        took = time.monotonic() - began


def _next(request: Request) -> str:
    """Has the login lead back to what was asked for."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "" if asked == "/" else "?" + urlencode({"next": asked})
