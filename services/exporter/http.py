"""Counts and times HTTP requests as pure ASGI, labelled by route template. Knows no route and no handler.

The path a client sent is never a label: what matches no template is `unmatched`, a mounted file tree is `static`.
"""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.metrics.registry import counter, gauge, histogram
from services.metrics.web import HTTP_IN_PROGRESS, HTTP_REQUEST_DURATION, HTTP_REQUESTS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics:
    """ASGI middleware. Needs the very scope that the router fills: no middleware between them may copy it."""

    def __init__(
        self, app: ASGIApp, *, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._clock = clock
        self._requests = counter(HTTP_REQUESTS, registry)
        self._duration = histogram(HTTP_REQUEST_DURATION, registry)
        self._in_progress = gauge(HTTP_IN_PROGRESS, registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._clock)
        started = self._clock()
        try:
            with self._in_progress.track_inprogress():
                await self._app(scope, receive, answer.send)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            route = route_template(scope)
            self._requests.labels(method, route, f"{answer.status // 100}xx").inc()
            self._duration.labels(method, route).observe((answer.stream_began or self._clock()) - started)


class _Answer:
    """What passed on its way out. A handler that dies before it answers counts as 500."""

    def __init__(self, send: Send, clock: Callable[[], float]) -> None:
        self._send = send
        self._clock = clock
        self.status = 500
        self.stream_began: float | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                self.stream_began = self._clock()
        await self._send(message)


def route_template(scope: Scope) -> str:
    """`/v1/jobs/{job_id}` for the route that answered, `static` for a file, else `unmatched`."""
    # FastAPI keeps an included route's own path in `route`; the path with its router's prefix lies in this context.
    context = scope.get("fastapi", {}).get("effective_route_context")
    for holder in (context, scope.get("route")):
        template = getattr(holder, "path_format", None)
        if isinstance(template, str):
            return template
    return "static" if isinstance(scope.get("endpoint"), StaticFiles) else "unmatched"
