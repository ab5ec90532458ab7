"""Server-sent events: bytes -> events, however they are cut. Knows no connection and no job.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

DONE = "[DONE]"
ERROR = "error"  # the type of the event with which a server that cannot go on ends a stream

# Not str.splitlines: it also breaks at U+2028 and the like, which JSON may hold as they are.
# A carriage return at the very end waits for the next byte, which may be its line feed.
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


@dataclass(frozen=True)
class ServerSentEvent:
    """One event. `id` is None where the frame carried none."""

    data: str
    event: str = "message"
    id: str | None = None


class FrameParser:
    """`feed` the body as it comes, then `close`. An event that is cut off is dropped."""

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[str] = []
        self._kind = "message"
        self._id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent | None]:
        """The events that end in this chunk; None for each comment (a keep-alive)."""
        *lines, self._buffer = _LINE_END.split(self._buffer + chunk)
        for line in lines:
            yield from self._take(line.decode("utf-8", "replace"))

    def close(self) -> Iterator[ServerSentEvent | None]:
        """What the end of the body ends: a carriage return may have been its last byte."""
        if self._buffer.endswith(b"\r"):
            yield from self._take(self._buffer[:-1].decode("utf-8", "replace"))

    def _take(self, line: str) -> Iterator[ServerSentEvent | None]:
        if not line:
            if self._data:
                yield ServerSentEvent("\n".join(self._data), self._kind, self._id)
            self._data, self._kind, self._id = [], "message", None
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "":
            yield None
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
