"""One HTTP conversation: keys, time limits, retries. Knows no resource, and not what an answer means."""

# Written by `make reference` from unroll/aio/transport.py; change it there.

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from unroll import net
from unroll.answers import Answer, backoff_seconds, decoded, delay_seconds, named, parsed, refused
from unroll.connection import Connection
from unroll.errors import ServerUnreachableError

CONNECT_SECONDS = 5.0
PAGE = 100

# A body that can be sent again is bytes, or a function that begins it anew.
Body = bytes | Callable[[], Iterator[bytes]]


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
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = connection.url
        self.sleep, self.clock = sleep or net.sleep, clock
        self._max_retries = max_retries
        self._timeout_seconds = timeout_seconds
        self._http = net.HttpClient(
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
        content: Body | None = None,
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
                    params=named(params),
                    json=json,
                    content=content() if callable(content) else content,
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
            delay = delay_seconds(response, attempt)
            if is_last or delay is None:
                raise refused(response)
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
        is_idempotent: bool = False,
        timeout_seconds: float | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """The body of a 2xx answer as it comes. Raises as `request` does, also in mid-body.

        What is idempotent is asked for again where the server refuses for a while, but never once a body has begun.
        """
        timeout = self._timeout(timeout_seconds)
        tries = self._max_retries + 1 if is_idempotent else 1
        for attempt in range(tries):
            try:
                with self._http.stream(method, path, json=json, headers=headers, timeout=timeout) as response:
                    if response.is_success:
                        yield response.iter_bytes()
                        return
                    response.read()
            except httpx.RequestError as error:
                raise self._unreachable(error) from error
            delay = delay_seconds(response, attempt)
            if attempt == tries - 1 or delay is None:
                raise refused(response)
            self.sleep(delay)

    def pages(
        self, kind: type[Answer], path: str, params: Mapping[str, Any] | None = None, *, limit: int | None = None
    ) -> Iterator[Answer]:
        """The items of a list, page after page, at most `limit` of them."""
        left, after = limit, None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            body = decoded(self.request("GET", path, params={**(params or {}), "limit": size, "after": after}))
            items = body.get("data", [])
            for item in items[:left]:
                yield parsed(kind, item, self.url)
            left = None if left is None else left - len(items)
            last = body.get("last_id")
            # An empty page may have a next one: a page of models is one of jobs that may have none.
            if not body.get("has_more") or last is None or last == after:
                return
            after = last

    def page(self, kind: type[Answer], path: str, params: Mapping[str, Any]) -> Iterator[Answer]:
        """The items of a list that comes whole."""
        for item in decoded(self.request("GET", path, params=params)).get("data", []):
            yield parsed(kind, item, self.url)

    def ask(self, kind: type[Answer], method: str, path: str, **how: Any) -> Answer:
        """The answer to `request`, as `kind`. Raises as it does, and ProtocolError where the answer is no `kind`."""
        return parsed(kind, decoded(self.request(method, path, **how)), self.url)

    def ask_plain(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        """The answer to `request`, as the object that it is."""
        return decoded(self.request(method, path, **how))

    def _timeout(self, seconds: float | None) -> httpx.Timeout:
        seconds = seconds or self._timeout_seconds
        return httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))

    def _unreachable(self, error: httpx.RequestError) -> ServerUnreachableError:
        return ServerUnreachableError(f"{self.url} does not answer: {error or type(error).__name__}")
