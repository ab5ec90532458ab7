"""The sampler where Ray Serve replicas write: `python -m services.sampling.front`. To the public process it is the
same as `services.sampling.app`: same address, token, commands and answers. Knows no model, no torch and no Ray.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi.responses import JSONResponse, Response, StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rnncore.errors import UnrollError
from services.access import sampler_token
from services.faults import error_answer, retry_after
from services.hangups import while_awaited
from services.logs import configure_logs
from services.metrics.registry import gauge
from services.metrics.sampler import SAMPLER_REPLICAS
from services.sampling.door import COMMANDS, SamplerDoor, listen
from services.sampling.replica import Answer, Head, Replicas
from services.settings import Settings

log = logging.getLogger(__name__)

_EVENTS = b"text/event-stream"
_LOOK_SECONDS = 2.0
_PATIENCE_SECONDS = 15.0
_LOST = 75  # os.EX_TEMPFAIL: the exit status of a front without a cluster
_PASSED_ON = (b"authorization", b"content-type", b"traceparent")


class _Command(BaseModel):
    """What the front has to know of a command; whether all of it is right, a replica finds out."""

    checkpoint: str


def create_front(settings: Settings, replicas: Replicas) -> Starlette:
    """The API of `services.sampling.app`, answered by `replicas`."""

    async def healthz(_: Request) -> Response:
        await replicas.check()
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        body = _merged(await replicas.metrics())
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def command(request: Request) -> Response:
        body = await request.body()
        headers = [(name, value) for name, value in request.scope["headers"] if name in _PASSED_ON]
        answer = replicas.ask(request.url.path, headers, body, checkpoint=_checkpoint(body))
        try:
            return _Passed(answer, await while_awaited(request.receive, answer.head()))
        except BaseException:
            answer.close()
            raise

    async def refused(_: Request, error: Exception) -> Response:
        status, body = error_answer(error)
        seconds = retry_after(error)
        return JSONResponse(body, status, {"retry-after": seconds} if seconds else None)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(_end_without_cluster(replicas))
        yield
        watch.cancel()

    routes = [Route("/healthz", healthz), Route("/metrics", metrics)]
    return Starlette(
        routes=[*routes, *(Route(path, command, methods=["POST"]) for path in COMMANDS)],
        lifespan=lifespan,
        exception_handlers={UnrollError: refused},
        middleware=[Middleware(SamplerDoor, token=sampler_token(settings.secret))],
    )


async def _end_without_cluster(replicas: Replicas) -> None:
    """Ends this process where its cluster is gone for good: whoever starts it again lets it find the next one."""
    heard_at = time.monotonic()
    while time.monotonic() - heard_at < _PATIENCE_SECONDS:
        await asyncio.sleep(_LOOK_SECONDS)
        if await replicas.is_reachable():
            heard_at = time.monotonic()
    log.error("the cluster has not answered for %.0f s: ending this process", _PATIENCE_SECONDS)
    os._exit(_LOST)


class _Passed(StreamingResponse):
    """A replica's answer as it comes. However it ends, and be it before it began, the answer is closed."""

    def __init__(self, answer: Answer, head: Head) -> None:
        self._answer = answer
        is_stream = any(name == b"content-type" and value.startswith(_EVENTS) for name, value in head.headers)
        super().__init__(_frames(answer) if is_stream else answer.pieces(), head.status)
        self.raw_headers = list(head.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()


async def _frames(answer: Answer) -> AsyncIterator[bytes]:
    """A stream ends with what the replica said last, or with an error, never by silence."""
    try:
        async for piece in answer.pieces():
            yield piece
    except UnrollError as error:
        yield f"data: {json.dumps(error_answer(error)[1])}\n\n".encode()


def _checkpoint(body: bytes) -> str:
    try:
        return _Command.model_validate_json(body).checkpoint
    except ValidationError:
        return ""


class _Families(Collector):
    def __init__(self, families: dict[str, Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return list(self._families.values())


def _merged(texts: dict[str, bytes]) -> bytes:
    """The metrics of all replicas, each sample with the name of its own: a sum would fall when a replica ends."""
    families: dict[str, Metric] = {}
    for replica, text in texts.items():
        for family in text_string_to_metric_families(text.decode()):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            merged.samples += [s._replace(labels={**s.labels, "replica": replica}) for s in family.samples]
    registry = CollectorRegistry()
    gauge(SAMPLER_REPLICAS, registry).set(len(texts))
    registry.register(_Families(families))
    return generate_latest(registry)


def main() -> None:
    """Serves until SIGTERM. The replicas stay as long as their cluster does."""
    configure_logs()
    settings = Settings()
    listen(create_front(settings, Replicas.start(settings)), settings)


if __name__ == "__main__":
    main()
