"""All pages of the site, in the order of the header. A page more is a module with `add` and a line here."""

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from services.web import compare, login, playground, run, runs, submit
from services.web.lecture import page as lecture
from services.web.site import HERE, NavEntry, Site, Sources

_NAVIGATION = (
    NavEntry("Runs", "/", under=("jobs", "submit", "compare")),
    NavEntry("Playground", "/playground"),
    NavEntry("Lecture", "/lecture"),
)
_PAGES = (login, runs, run, submit, compare, playground, lecture)


def site(sources: Sources) -> Site:
    """The whole site over what it reads."""
    whole = Site(sources, _NAVIGATION)
    for page in _PAGES:
        page.add(whole)
    return whole


def static_files() -> StaticFiles:
    """What to mount at /static: own modules and styles, and the vendored ones."""
    return _Static(directory=HERE / "static")


class _Static(StaticFiles):
    """Files that a browser asks for anew each time (304 by their ETag), so that an upgrade never mixes modules."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["cache-control"] = "no-cache"
        answer.headers["x-content-type-options"] = "nosniff"
        return answer
