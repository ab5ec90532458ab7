"""Stands between the service and its Redis: cuts the wire on demand, and keeps a log of what passed.

The log is the observer's view from outside the queue: script, arguments and answer of every call, each with the moment
it was sent and the moment its answer came.
"""

import asyncio
import contextlib
import hashlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import hiredis

from services.jobqueue import scripts

_WATCHED = ("claim", "beat", "finish", "fail", "suspend", "release", "lose", "submit", "set_aside")


class Call(NamedTuple):
    """One script that ran: by which process, with what, answered how; times of the monotonic clock."""

    script: str
    pid: int
    arguments: tuple[str, ...]
    answer: Any
    sent_at: float
    answered_at: float


def script_names() -> dict[str, str]:
    """SHA-1 of each script as Redis knows it -> its name."""
    folder = resources.files(scripts)
    shared = folder.joinpath("_shared.lua").read_text()
    return {
        hashlib.sha1((shared + path.read_text()).encode()).hexdigest(): path.name.removesuffix(".lua")
        for path in folder.iterdir()
        if path.name.endswith(".lua") and not path.name.startswith("_")
    }


class RedisProxy:
    """Listens on one unix socket, passes everything on to another. Runs in a thread of its own."""

    def __init__(self, front: Path, back: Path) -> None:
        self.url = f"unix://{front}"
        self.calls: list[Call] = []
        self._front, self._back = front, back
        self._names = script_names()
        self._is_cut: Callable[[int], bool] = lambda pid: False
        self._open: dict[asyncio.StreamWriter, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "RedisProxy":
        self._thread.start()
        start = asyncio.start_unix_server(self._serve, str(self._front))
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut(lambda pid: True)
        self._loop.call_soon_threadsafe(self._server.close)
        time.sleep(0.2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, whose: Callable[[int], bool]) -> None:
        """Breaks the connections of processes whose pid `whose` names, and refuses new ones until `mend`."""
        self._is_cut = whose
        self._loop.call_soon_threadsafe(self._break)

    def mend(self) -> None:
        self._is_cut = lambda pid: False

    def _break(self) -> None:
        for writer, pid in list(self._open.items()):
            if self._is_cut(pid):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid: int = struct.unpack("3i", credentials)[0]
        try:
            if self._is_cut(pid):
                return
            upstream, downstream = await asyncio.open_unix_connection(str(self._back))
        except OSError:  # Redis is away
            return
        finally:
            if "upstream" not in locals():
                writer.close()
        self._open[writer] = pid
        asked: deque[tuple[tuple[str, ...], float]] = deque()

        def note_request(words: Any) -> None:
            asked.append((words, time.monotonic()))

        ways = [
            asyncio.ensure_future(self._pass_on(reader, downstream, note_request)),
            asyncio.ensure_future(self._pass_on(upstream, writer, lambda answer: self._note(pid, asked, answer))),
        ]
        with contextlib.suppress(ConnectionError, OSError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        self._open.pop(writer, None)
        for way in ways:
            way.cancel()
        for end in (writer, downstream):
            end.close()

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, note: Callable[[Any], None]
    ) -> None:
        parser = hiredis.Reader(encoding="utf-8", errors="replace")
        with contextlib.suppress(ConnectionError, OSError):
            while data := await source.read(1 << 16):
                parser.feed(data)
                while (whole := parser.gets()) is not False:
                    note(whole)
                sink.write(data)
                await sink.drain()

    def _note(self, pid: int, asked: deque[tuple[tuple[str, ...], float]], answer: Any) -> None:
        if not asked:
            return
        words, sent_at = asked.popleft()
        name = self._names.get(words[1]) if words and str(words[0]).upper() == "EVALSHA" else None
        if name in _WATCHED and not isinstance(answer, hiredis.ReplyError):
            self.calls.append(Call(name, pid, tuple(words[3:12]), answer, sent_at, time.monotonic()))
