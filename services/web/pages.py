"""The pages a browser opens: job list and job at `/`, the door at `/login`. Knows no queue, only what it is handed.

Handlers are plain functions, so the callables they are given may block. What a page shows live it asks of /v1 itself.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from services.jobqueue.records import JobRecord
from services.web import sessions, text

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
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")

JobQuery = Annotated[str | None, Query()]


def static_files() -> StaticFiles:
    """What to mount at /static: own modules and styles, and the vendored ones."""
    return _Static(directory=HERE / "static")


def router(
    *,
    secret: bytes,
    check_key: Callable[[str], str | None],
    key_is_live: Callable[[str], bool],
    list_jobs: Callable[[str], list[JobRecord]],
    get_job: Callable[[str, str], JobRecord | None],
    version: str,
    clock: Callable[[], float] = time.time,
) -> APIRouter:
    """The pages. `check_key` turns a raw API key into its id; the others take a key id; jobs come newest first."""
    pages = APIRouter(include_in_schema=False)
    render = _Renderer(version, clock)

    def visitor(request: Request) -> tuple[str, str] | None:
        """Key id and CSRF token of a session whose key still lives."""
        cookie = request.cookies.get(sessions.COOKIE_NAME, "")
        key_id = sessions.verify(secret, cookie, clock())
        if key_id is None or not key_is_live(key_id):
            return None
        return key_id, sessions.csrf_token(secret, cookie)

    @pages.get("/")
    def home(request: Request, job: JobQuery = None) -> Response:
        found = visitor(request)
        if found is None:
            return RedirectResponse("/login" + _query(job), 303, headers=HEADERS)
        key_id, csrf = found
        selected = get_job(key_id, job) if job and _JOB_ID.fullmatch(job) else None
        status = 404 if job and selected is None else 200
        return render("jobs.html", status, jobs=list_jobs(key_id), selected=selected, asked=job, csrf=csrf)

    @pages.get("/parts/jobs")
    def jobs_part(request: Request, job: JobQuery = None) -> Response:
        """The list alone: what a page puts in the place of its own to stay current."""
        found = visitor(request)
        if found is None:
            return Response(status_code=401, headers=HEADERS)
        return render("jobs_table.html", jobs=list_jobs(found[0]), selected_id=job)

    _add_door(pages, render, secret=secret, check_key=check_key, clock=clock)
    return pages


def _add_door(
    pages: APIRouter,
    render: "_Renderer",
    *,
    secret: bytes,
    check_key: Callable[[str], str | None],
    clock: Callable[[], float],
) -> None:
    """Login and logout: the two ways a session begins and ends by hand."""

    @pages.get("/login")
    def login_page(job: JobQuery = None) -> Response:
        return render("login.html", job=job, refused=False)

    @pages.post("/login")
    def login(request: Request, key: Annotated[str, Form()] = "", job: Annotated[str, Form()] = "") -> Response:
        key_id = check_key(key.strip())
        if key_id is None:
            return render("login.html", 401, job=job, refused=True)
        answer = RedirectResponse("/" + _query(job), 303, headers=HEADERS)
        cookie = sessions.issue(secret, key_id, clock())
        _set_cookie(answer, request, cookie, sessions.LIFETIME_SECONDS)
        return answer

    @pages.post("/logout")
    def logout(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        cookie = request.cookies.get(sessions.COOKIE_NAME, "")
        if not sessions.csrf_matches(secret, cookie, csrf):
            return RedirectResponse("/", 303, headers=HEADERS)
        answer = RedirectResponse("/login", 303, headers=HEADERS)
        _set_cookie(answer, request, "", 0)
        return answer


def _query(job: str | None) -> str:
    """Keeps a selected job through the login; nothing but an id, so that no address can be smuggled in."""
    return "?" + urlencode({"job": job}) if job and _JOB_ID.fullmatch(job) else ""


def _set_cookie(answer: Response, request: Request, value: str, max_age: int) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(sessions.COOKIE_NAME, value, max_age, httponly=True, samesite="strict", secure=secure)


class _Renderer:
    """Templates with autoescape always on; a name a template misspells is an error."""

    def __init__(self, version: str, clock: Callable[[], float]) -> None:
        loader = FileSystemLoader(HERE / "templates")
        self._templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        self._templates.globals |= {"text": text, "version": version}
        self._clock = clock

    def __call__(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        page = self._templates.get_template(template).render(now=self._clock(), **values)
        return HTMLResponse(page, status, headers=HEADERS)


class _Static(StaticFiles):
    """Files that a browser asks for anew each time (304 by their ETag), so that an upgrade never mixes modules."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["cache-control"] = "no-cache"
        answer.headers["x-content-type-options"] = "nosniff"
        return answer
