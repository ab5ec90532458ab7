"""The sampler process: `python -m services.sampling.app`. Listens on a unix socket, or where UNROLL_SAMPLER_URL says.

Only the public process talks to it, and shows by a token that it is that; keys and tenants are settled there.
"""

import hmac
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import anyio.to_thread
import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from rnncore.errors import AccessDenied, Overloaded, UnrollError
from rnncore.export import to_onnx
from rnncore.inspection import Inspection
from services.access import sampler_token
from services.faults import error_answer
from services.logs import configure_logs
from services.sampling.answers import Answer, inspection, predictions
from services.sampling.model_cache import ModelCache
from services.settings import Settings
from services.storage import Storage
from services.wire import ExportCommand, InspectCommand, PredictCommand, Predictions, SampleCommand

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 64
_STOP_SECONDS = 3
_COMMANDS = ("/completions", "/predict", "/inspect", "/export")

T = TypeVar("T")


class Sampler:
    """Answers commands with cached models, a bounded number at once."""

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        self._cache = ModelCache(Storage(settings.storage_url), settings.secret, self.registry)
        self._places = threading.Semaphore(_MOST_AT_ONCE)
        self._requests = Counter(
            "unroll_sample_requests", "Completions and predictions.", ["outcome", "stream"], registry=self.registry
        )
        self._tokens = Counter("unroll_sample_tokens", "Symbols written.", registry=self.registry)
        self._first = Histogram(
            "unroll_sample_time_to_first_token_seconds", "Request to first symbol.", registry=self.registry
        )

    def open(self, command: SampleCommand) -> Answer:
        """Begins an answer. Raises what `faults` knows to say; call `closed` once it is over."""
        self._take_place(command.request.stream)
        try:
            return Answer(command.request, command.fingerprint, self._cache.get(command.checkpoint))
        except BaseException:
            self._places.release()
            self._requests.labels("refused", command.request.stream).inc()
            raise

    def closed(self, command: SampleCommand, answer: Answer, outcome: str) -> None:
        """The answer is over, whole or not."""
        self._places.release()
        self._requests.labels(outcome, command.request.stream).inc()
        self._tokens.inc(answer.num_tokens)

    def predict(self, command: PredictCommand) -> Predictions:
        """The predictions, whole. Raises what `faults` knows to say."""
        return self._whole(lambda: predictions(command, self._cache.get(command.checkpoint)))

    def inspect(self, command: InspectCommand) -> Inspection:
        """What one sees inside. Raises what `faults` knows to say."""
        return self._whole(lambda: inspection(command.request, self._cache.get(command.checkpoint)))

    def export(self, command: ExportCommand) -> bytes:
        """The model as an ONNX graph. Raises what `faults` knows to say."""
        model = self._cache.get(command.checkpoint)
        return self._whole(lambda: to_onnx(model.network, model.manifest))

    def _whole(self, answer: Callable[[], T]) -> T:
        """An answer that is not streamed, in one of the places."""
        self._take_place(False)
        outcome = "refused"
        try:
            whole = answer()
            outcome = "ok"
        finally:
            self._places.release()
            self._requests.labels(outcome, False).inc()
        return whole

    def _take_place(self, stream: bool) -> None:
        if not self._places.acquire(blocking=False):
            self._requests.labels("overloaded", stream).inc()
            raise Overloaded(f"{_MOST_AT_ONCE} requests are being answered, the most at once; try again in a moment")

    async def stream(self, command: SampleCommand, answer: Answer) -> AsyncIterator[str]:
        """Server-sent events; a client that leaves ends it at the next symbol."""
        outcome, began_at = "left", time.perf_counter()
        try:
            async for chunk in iterate_in_threadpool(answer.chunks()):
                if began_at:
                    self._first.observe(time.perf_counter() - began_at)
                    began_at = 0.0
                yield f"data: {chunk.model_dump_json()}\n\n"
            outcome = "ok"
            yield "data: [DONE]\n\n"
        except Exception as error:
            outcome = "failed"
            log.exception("a stream failed")
            yield f"data: {json.dumps(error_answer(error)[1])}\n\n"
        finally:
            self.closed(command, answer, outcome)


def create_app(settings: Settings) -> FastAPI:
    """The sampler's own little API."""
    sampler = Sampler(settings)
    expected = f"Bearer {sampler_token(settings.secret)}".encode()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _MOST_AT_ONCE + 8
        yield

    app = FastAPI(title="Unroll sampler", openapi_url=None, lifespan=lifespan)

    @app.exception_handler(UnrollError)
    async def refused(_: Request, error: UnrollError) -> JSONResponse:
        status, body = error_answer(error)
        return JSONResponse(body, status)

    @app.middleware("http")
    async def door(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        shown = request.headers.get("authorization", "").encode()
        if request.url.path in _COMMANDS and not hmac.compare_digest(shown, expected):
            status, body = error_answer(AccessDenied("the sampler answers to the public process alone"))
            return JSONResponse(body, status)
        return await go_on(request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(sampler.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/completions")
    async def completions(command: SampleCommand) -> Response:
        answer = await run_in_threadpool(sampler.open, command)
        if command.request.stream:
            return StreamingResponse(sampler.stream(command, answer), media_type="text/event-stream")
        outcome = "failed"
        try:
            whole = await run_in_threadpool(answer.whole)
            outcome = "ok"
        finally:
            sampler.closed(command, answer, outcome)
        return Response(whole.model_dump_json(), media_type="application/json")

    @app.post("/predict")
    async def predict(command: PredictCommand) -> Response:
        answer = await run_in_threadpool(sampler.predict, command)
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.post("/inspect")
    async def inspect(command: InspectCommand) -> Response:
        answer = await run_in_threadpool(sampler.inspect, command)
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.post("/export")
    async def export(command: ExportCommand) -> Response:
        return Response(await run_in_threadpool(sampler.export, command), media_type="application/octet-stream")

    return app


def main() -> None:
    """Serves until SIGTERM."""
    configure_logs()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    settings = Settings()
    app = create_app(settings)
    url = settings.sampler_url or f"unix:{settings.sampler_socket}"
    if url.startswith("unix:"):
        config = uvicorn.Config(app, log_config=None, log_level="warning", uds=url.removeprefix("unix:"))
    else:
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", host=settings.sampler_host, port=urlsplit(url).port or 80
        )
    config.timeout_graceful_shutdown = _STOP_SECONDS
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
