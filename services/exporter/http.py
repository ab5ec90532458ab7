"""Counts and times HTTP requests as pure ASGI, labelled by route template. Knows no route and no handler.

The path a client sent is never a label: what matches no template is `unmatched`, a mounted file tree is `static`.
"""

import platform
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.exporter import table

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class HttpMetrics:
    """ASGI middleware. Needs the very scope that the router fills: no middleware between them may copy it."""

    def __init__(
        self, app: ASGIApp, *, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._clock = clock
        requests, duration = table.HTTP_REQUESTS, table.HTTP_REQUEST_DURATION
        self._requests = Counter(requests.name, requests.help, requests.labels, registry=registry)
        self._duration = Histogram(
            duration.name, duration.help, duration.labels, buckets=BUCKETS_SECONDS, registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._clock)
        started = self._clock()
        try:
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


def register_build_info(registry: CollectorRegistry, *, version: str) -> None:
    """Adds the series that says which version of Unroll and of Python answers."""
    metric = table.BUILD_INFO
    Gauge(metric.name, metric.help, metric.labels, registry=registry).labels(version, platform.python_version()).set(1)
