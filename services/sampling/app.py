"""The sampler process: `python -m services.sampling.app`. Listens on a unix socket, or where UNROLL_SAMPLER_URL says.

Only the public process talks to it, and shows by a token that it is that; keys and tenants are settled there.
"""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread
import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import generate_latest
from starlette.types import Receive, Scope, Send

from rnncore.errors import UnrollError
from services.access import sampler_token
from services.faults import error_answer, retry_after
from services.hangups import while_awaited
from services.limits import allow_many_sockets
from services.logs import configure_logs
from services.sampling.completion import CompletionAnswer
from services.sampling.door import SamplerDoor, listen
from services.sampling.sampler import Sampler
from services.settings import Settings
from services.wire import ExportCommand, InspectCommand, PredictCommand, SampleCommand

log = logging.getLogger(__name__)

_THREADS = 72


def create_app(settings: Settings) -> FastAPI:
    """The sampler's own little API."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        app.state.sampler = Sampler(settings)
        yield
        app.state.sampler.close()

    app = FastAPI(title="Unroll sampler", openapi_url=None, lifespan=lifespan)

    def sampler() -> Sampler:
        found: Sampler = app.state.sampler
        return found

    @app.exception_handler(UnrollError)
    async def refused(_: Request, error: UnrollError) -> JSONResponse:
        status, body = error_answer(error)
        seconds = retry_after(error)
        return JSONResponse(body, status, {"retry-after": seconds} if seconds else None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        body = generate_latest(sampler().registry)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/completions")
    async def completions(command: SampleCommand, request: Request) -> Response:
        if command.request.stream:
            return _Stream(sampler(), await sampler().open(command))
        body = await while_awaited(request.receive, sampler().whole(command))
        return Response(body, media_type="application/json")

    @app.post("/predict")
    async def predict(command: PredictCommand) -> Response:
        return Response((await sampler().predict(command)).model_dump_json(), media_type="application/json")

    @app.post("/inspect")
    async def inspect(command: InspectCommand) -> Response:
        return Response((await sampler().inspect(command)).model_dump_json(), media_type="application/json")

    @app.post("/export")
    async def export(command: ExportCommand) -> Response:
        return Response(await sampler().export(command), media_type="application/octet-stream")

    app.add_middleware(SamplerDoor, token=sampler_token(settings.secret))
    return app


class _Stream(StreamingResponse):
    """Server-sent events of an opened answer. However it ends, and be it before it began, the answer is closed."""

    def __init__(self, sampler: Sampler, answer: CompletionAnswer) -> None:
        super().__init__(_frames(sampler, answer), media_type="text/event-stream")
        self._close = partial(sampler.close_answer, answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


async def _frames(sampler: Sampler, answer: CompletionAnswer) -> AsyncIterator[bytes]:
    """They end with [DONE] or an error, never by silence."""
    try:
        async for frames in sampler.chunks(answer):
            yield frames
        yield b"data: [DONE]\n\n"
    except Exception as error:
        if not isinstance(error, UnrollError):
            log.exception("a stream failed")
        yield f"data: {json.dumps(error_answer(error)[1])}\n\n".encode()


def main() -> None:
    """Serves until SIGTERM."""
    configure_logs()
    allow_many_sockets()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    settings = Settings()
    listen(create_app(settings), settings)


if __name__ == "__main__":
    main()
