"""What differs between blocking and waiting: the HTTP client, sleep, reading a file. See `unroll.aio.net`."""

from collections.abc import Iterator
from time import sleep
from typing import IO

import httpx

__all__ = ["HttpClient", "pieces", "sleep"]

HttpClient = httpx.Client


def pieces(file: IO[bytes], num_bytes: int) -> Iterator[bytes]:
    """The rest of `file`, cut."""
    while piece := file.read(num_bytes):
        yield piece
