"""Server-sent events: bytes -> events, and a stream that comes back after a lost connection. Knows no job.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
"""

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from unroll.errors import ServerUnreachableError, ServiceUnavailableError, WaitTimeoutError
from unroll.transport import Transport, backoff_seconds

DONE = "[DONE]"
ERROR = "error"  # the type of the event with which a server that cannot go on ends a stream
SILENCE_SECONDS = 60.0

# Not str.splitlines: it also breaks at U+2028 and the like, which JSON may hold as they are.
# A carriage return at the very end waits for the next byte, which may be its line feed.
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


@dataclass(frozen=True)
class ServerSentEvent:
    """One event. `id` is None where the frame carried none."""

    data: str
    event: str = "message"
    id: str | None = None


def parse(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent | None]:
    """The events in a body, however it is cut; None for each comment (a keep-alive). A cut-off event is dropped."""
    data: list[str] = []
    kind, identity = "message", None
    for line in _lines(chunks):
        if not line:
            if data:
                yield ServerSentEvent("\n".join(data), kind, identity)
            data, kind, identity = [], "message", None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "":
            yield None
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            identity = value


def follow(
    transport: Transport,
    path: str,
    *,
    last_event_id: str | None = None,
    patience_seconds: float = 60.0,
    timeout_seconds: float | None = None,
    on_outage: Callable[[str], None] | None = None,
) -> Generator[ServerSentEvent | None, None, None]:
    """The events of `path` up to its `[DONE]`, None for each keep-alive; after a lost connection it goes on behind the
    last event seen. `on_outage` is told once when contact is lost and once when it is back.

    Raises ServerUnreachableError after `patience_seconds` without contact, WaitTimeoutError after `timeout_seconds`
    altogether (noticed at the next event, keep-alive or silence), and the APIError of a refusal.
    """
    tell = on_outage or (lambda _: None)
    deadline = None if timeout_seconds is None else transport.clock() + timeout_seconds
    contact, attempt = transport.clock(), 0
    while True:
        try:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
            silence = _allowed_silence(transport, deadline, timeout_seconds)
            with transport.stream("GET", path, headers=headers, timeout_seconds=silence) as body:
                for event in parse(body):
                    if event is not None and event.event == ERROR:
                        break
                    if attempt:
                        tell("connected again")
                    contact, attempt = transport.clock(), 0
                    if event is not None and event.data == DONE:
                        return
                    last_event_id = event.id if event is not None and event.id else last_event_id
                    yield event
                    _allowed_silence(transport, deadline, timeout_seconds)
            reason = f"{transport.url} ended the stream early"
        except (ServerUnreachableError, ServiceUnavailableError) as error:
            reason = str(error)
        _allowed_silence(transport, deadline, timeout_seconds)
        if transport.clock() - contact > patience_seconds:
            raise ServerUnreachableError(f"gave up after {patience_seconds:.0f} s: {reason}")
        if attempt == 0:
            tell(f"{reason}; trying again for {patience_seconds:.0f} s")
        transport.sleep(backoff_seconds(attempt))
        attempt += 1


def _allowed_silence(transport: Transport, deadline: float | None, timeout_seconds: float | None) -> float:
    if deadline is None:
        return SILENCE_SECONDS
    left = deadline - transport.clock()
    if left <= 0:
        raise WaitTimeoutError(f"still not finished after {timeout_seconds:g} s")
    return min(SILENCE_SECONDS, left)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    buffer = b""
    for chunk in chunks:
        *lines, buffer = _LINE_END.split(buffer + chunk)
        for line in lines:
            yield line.decode("utf-8", "replace")
    if buffer.endswith(b"\r"):
        yield buffer[:-1].decode("utf-8", "replace")
