"""What differs between waiting and blocking: the HTTP client, sleep, reading a file."""

import asyncio
from collections.abc import AsyncIterator
from typing import IO

import httpx

HttpClient = httpx.AsyncClient
sleep = asyncio.sleep


async def pieces(file: IO[bytes], num_bytes: int) -> AsyncIterator[bytes]:
    """The rest of `file`, cut; read in a thread, for a disk or a pipe may take its time."""
    while piece := await asyncio.to_thread(file.read, num_bytes):
        yield piece
