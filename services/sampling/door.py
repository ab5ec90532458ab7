"""The way into a sampler: who may send it commands, and where it listens. Knows no command's meaning and no torch."""

import hmac
from urllib.parse import urlsplit

import uvicorn
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rnncore.errors import AccessDenied
from services.faults import error_answer
from services.settings import Settings

COMMANDS = ("/completions", "/predict", "/inspect", "/export")
_STOP_SECONDS = 3


class SamplerDoor:
    """Commands come from the public process alone, which shows its token."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in COMMANDS:
            shown = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(shown, self._expected):
                status, body = error_answer(AccessDenied("the sampler answers to the public process alone"))
                await JSONResponse(body, status)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def listen(app: ASGIApp, settings: Settings) -> None:
    """Serves `app` on a unix socket, or where UNROLL_SAMPLER_URL says, until SIGTERM."""
    url = settings.sampler_url or f"unix:{settings.sampler_socket}"
    config = uvicorn.Config(
        app,
        http="h11",  # httptools, which comes with Ray Serve, reads headers of any size into memory
        ws="none",
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    if url.startswith("unix:"):
        config.uds = url.removeprefix("unix:")
    else:
        config.host, config.port = settings.sampler_host, urlsplit(url).port or 80
    uvicorn.Server(config).run()
