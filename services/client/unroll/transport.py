"""One HTTP conversation: keys, time limits, retries, refusals turned into errors. Knows no resource."""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from unroll.connection import Connection
from unroll.errors import NotFoundError, ProtocolError, ServerUnreachableError, refusal

Answer = TypeVar("Answer", bound=BaseModel)

CONNECT_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 30.0
LONGEST_RATE_LIMIT_SECONDS = 10.0
PAGE = 100
TOO_MANY_REQUESTS = 429
_TRY_AGAIN = frozenset({502, 503, 504})
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


class Transport:
    """Requests to one server. A GET, and whatever is idempotent, is tried again after a lost connection or a 503, and
    after a 429 that asks for a short wait: a rate limit. A quota asks for a long one, and its refusal is raised.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        timeout_seconds: float = 60.0,
        max_retries: int = 3,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = connection.url
        self.sleep, self.clock = sleep, clock
        self._max_retries = max_retries
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(
            base_url=connection.url,
            headers={"Authorization": f"Bearer {connection.api_key}", "User-Agent": "unroll-client"},
            trust_env=not connection.is_loopback,  # a proxy from the environment cannot reach this machine's loopback
        )

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | IO[bytes] | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        is_idempotent: bool = False,
        timeout_seconds: float | None = None,
    ) -> httpx.Response:
        """The answer, 2xx. `is_idempotent` says that asking twice does no more than asking once (a GET always is).

        Raises ServerUnreachableError, or the APIError that the answer stands for.
        """
        tries = self._max_retries + 1 if is_idempotent or method == "GET" else 1
        for attempt in range(tries):
            is_last = attempt == tries - 1
            try:
                response = self._http.request(
                    method,
                    path,
                    params=_named(params),
                    json=json,
                    content=content,
                    headers=headers,
                    timeout=self._timeout(timeout_seconds),
                )
            except httpx.RequestError as error:
                if is_last:
                    raise self._unreachable(error) from error
                self.sleep(backoff_seconds(attempt))
                continue
            if response.is_success:
                return response
            delay = _delay_seconds(response, attempt)
            if is_last or delay is None:
                raise _refused(response)
            self.sleep(delay)
        raise AssertionError("unreachable: the last try returns or raises")

    def probe(self, path: str) -> tuple[bool, bytes]:
        """Whether `path` answers 2xx, and its body, whatever the answer is. Raises ServerUnreachableError."""
        try:
            response = self._http.get(path, timeout=self._timeout(None))
        except httpx.RequestError as error:
            raise self._unreachable(error) from error
        return response.is_success, response.content

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """The body of a 2xx answer as it comes. Raises as `request` does, also in mid-body; never tries again."""
        timeout = self._timeout(timeout_seconds)
        try:
            with self._http.stream(method, path, json=json, headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                    raise _refused(response)
                yield response.iter_bytes()
        except httpx.RequestError as error:
            raise self._unreachable(error) from error

    def pages(
        self, kind: type[Answer], path: str, params: Mapping[str, Any] | None = None, *, limit: int | None = None
    ) -> Iterator[Answer]:
        """The items of a list, page after page, at most `limit` of them."""
        left, after = limit, None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self.request("GET", path, params={**(params or {}), "limit": size, "after": after})
            body = self.decode(page)
            items = body.get("data", [])
            yield from (self.parse(kind, item) for item in items[:left])
            left = None if left is None else left - len(items)
            last = body.get("last_id")
            # An empty page may have a next one: a page of models is one of jobs that may have none.
            if not body.get("has_more") or last is None or last == after:
                return
            after = last

    def parse(self, kind: type[Answer], value: Any) -> Answer:
        """`value` as `kind`. Raises ProtocolError where it is none."""
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            raise ProtocolError(f"{self.url} answered something that is no {kind.__name__}: {error}") from error

    def decode(self, response: httpx.Response) -> dict[str, Any]:
        """The JSON object in an answer. Raises ProtocolError where there is none."""
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ProtocolError(f"{response.url} did not answer a JSON object; is this an Unroll server?")
        return body

    def _timeout(self, seconds: float | None) -> httpx.Timeout:
        return httpx.Timeout(seconds or self._timeout_seconds, connect=CONNECT_SECONDS)

    def _unreachable(self, error: httpx.RequestError) -> ServerUnreachableError:
        return ServerUnreachableError(f"{self.url} does not answer: {error or type(error).__name__}")


def identifier(kind: str, value: str) -> str:
    """`value`, safe as one segment of a path. Raises NotFoundError where it cannot be an id of anything."""
    if not _IDENTIFIER.fullmatch(value):
        raise NotFoundError(f"no {kind} {value!r}")
    return value


def backoff_seconds(attempt: int) -> float:
    """0.25, 0.5, 1, 2, 2, ... seconds, spread so that many clients do not come back at once."""
    return float(min(0.25 * 2**attempt, 2.0) * random.uniform(0.75, 1.25))


def _delay_seconds(response: httpx.Response, attempt: int) -> float | None:
    """How long to wait before asking again; None where that would not help."""
    header = response.headers.get("Retry-After", "")
    asked = float(header) if header.isascii() and header.isdigit() else None
    if response.status_code == TOO_MANY_REQUESTS:
        return asked if asked is not None and asked <= LONGEST_RATE_LIMIT_SECONDS else None
    if response.status_code in _TRY_AGAIN:
        return backoff_seconds(attempt) if asked is None else min(asked, LONGEST_DELAY_SECONDS)
    return None


def _refused(response: httpx.Response) -> Exception:
    return refusal(response.status_code, response.content, response.headers.get("x-request-id"))


def _named(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}
