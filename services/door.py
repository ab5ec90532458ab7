"""The door of the public process, plain ASGI: request id, Host, key, scope. Nothing behind it is reached without them.

Who a session cookie belongs to is told by a function from outside: the door knows no pages.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rnncore.errors import AccessDenied, Forbidden, TooSlow, UnrollError
from services.access import SAFE_METHODS, Access
from services.faults import envelope, error_answer, retry_after
from services.jobqueue.api_keys import ApiKey
from services.traces import span

log = structlog.get_logger(__name__)

_PATIENCE_SECONDS = 10.0
_SLOWEST_BYTES_PER_SECOND = 1000
# Refusals of now, that clients which ask again by themselves may be spared of later.
_MAY_PASS = (408, 409, 429)
HEALTH = ("/healthz", "/readyz")
_REQUEST_ID = re.compile(r"^[A-Za-z0-9_.-]{1,128}$")
Session = Callable[[HTTPConnection], ApiKey | None]
"""The key behind a request's session cookie. Raises Forbidden for a change without its CSRF token."""


class Door:
    """Lets a request in, or answers it. `own_guard` tells the paths that look after themselves (pages, static)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        session: Session,
        allowed_hosts: frozenset[str],
        own_guard: Callable[[str], bool],
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._app = app
        self._access = access
        self._session = session
        self._allowed_hosts = allowed_hosts
        self._own_guard = own_guard
        self._patience = patience_seconds
        self._reader_patience = 3 * patience_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        request_id = _request_id(request.headers)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_own(message, request_id)
            try:
                async with asyncio.timeout(self._reader_patience):
                    await send(message)
            except TimeoutError as error:
                raise _ReaderGone from error

        scope.setdefault("state", {})["request_id"] = request_id  # for an answer that is sent from outside this door
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._admit(scope, request)
        except UnrollError as error:
            await _refuse(error, send_with_id)
            return
        with span(scope["method"], request.headers.get("traceparent", "")):
            try:
                await self._app(scope, _Paced(receive, self._patience), send_with_id)
            except (_ReaderGone, ClientDisconnect):  # what is left of the answer is for nobody
                log.info("reader too slow", path=scope["path"])

    async def _admit(self, scope: Scope, request: HTTPConnection) -> None:
        path: str = scope["path"]
        if path in HEALTH:
            return
        self._check_host(request.headers)
        self._check_origin(scope["method"], request.headers)
        if self._own_guard(path):
            return
        scope["state"]["key"] = await run_in_threadpool(self._admitted, request)

    def _admitted(self, request: HTTPConnection) -> ApiKey:
        key = self._key(request)
        if key is None:
            raise AccessDenied(
                "no valid API key; send 'Authorization: Bearer KEY' (the first key lies in UNROLL_HOME/api_key)"
            )
        self._access.admit(key, request.scope["method"], request.scope["path"])
        return key

    def _key(self, request: HTTPConnection) -> ApiKey | None:
        scheme, _, raw = request.headers.get("authorization", "").partition(" ")
        if scheme:
            return self._access.check(raw.strip()) if scheme.lower() == "bearer" else None
        return self._session(request)

    def _check_host(self, headers: Headers) -> None:
        host = _without_port(headers.get("host", ""))
        if host not in self._allowed_hosts and "*" not in self._allowed_hosts:
            raise BadHostError(f"Host {host[:100]!r} is not served here; add it to UNROLL_ALLOWED_HOSTS")

    def _check_origin(self, method: str, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or method in SAFE_METHODS:
            return
        host = _without_port(origin.partition("://")[2])
        if host not in self._allowed_hosts and "*" not in self._allowed_hosts:
            raise Forbidden(f"Origin {origin[:100]!r} may not change anything here")


class _ReaderGone(OSError):
    """Nobody takes what is sent. An OSError, as Starlette knows a lost connection."""


class _Paced:
    """What a client sends, as long as it sends it at a pace that no honest line falls below."""

    def __init__(self, receive: Receive, patience_seconds: float) -> None:
        self._receive = receive
        self._patience = patience_seconds
        self._began: float | None = None
        self._num_bytes = 0
        self._is_over = False

    async def __call__(self) -> Message:
        """Raises TooSlow."""
        if self._is_over:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        present = time.monotonic()
        self._began = present if self._began is None else self._began
        # Patience at first, then as much more as the bytes so far are worth.
        allowed = self._began + self._patience + self._num_bytes / _SLOWEST_BYTES_PER_SECOND
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, allowed - present))
        except TimeoutError as error:
            raise TooSlow(
                f"the body comes at less than {_SLOWEST_BYTES_PER_SECOND} bytes a second; send it on a faster line"
            ) from error
        self._num_bytes += len(message.get("body", b""))
        self._is_over = not message.get("more_body", False)
        return message


class BadHostError(UnrollError):
    """The Host header names somebody else."""


async def _refuse(error: UnrollError, send: Send) -> None:
    status, body = error_answer(error)
    if isinstance(error, BadHostError):
        status, body = 400, envelope(str(error), type="invalid_request_error", code="bad_host")
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if (seconds := retry_after(error)) is not None:
        headers.append((b"retry-after", seconds.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _with_own(message: Message, request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with the door's own: which request it was, and whether repeating it is in vain."""
    headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
    if 400 <= message["status"] < 500 and message["status"] not in _MAY_PASS:
        headers.append((b"x-should-retry", b"false"))
    return headers


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.match(given) else f"req-{secrets.token_hex(12)}"


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
