"""Data sets over HTTP: upload, list, look at, delete. Knows no format: the server validates."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

from unroll.aio import net
from unroll.aio.transport import AsyncTransport, Body
from unroll.answers import identifier
from unroll.errors import ConfigurationError
from unroll.types import Dataset, Preview

UPLOAD_SECONDS = 600.0
PIECE_BYTES = 1 << 16


class AsyncDatasets:
    """The data sets of this key's tenant."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def upload(
        self,
        source: str | os.PathLike[str] | bytes | IO[bytes],
        *,
        kind: str = "text",
        vocabulary: str | None = None,
        target: str | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Send a file (streamed, never whole in memory), bytes, or what a binary file object still holds.

        `kind` is text, labelled, tagged, pairs, series or sequences; of a text `vocabulary` is `characters` or
        `bytes`, of a series `target` is the column to forecast; `name` defaults to the file's.
        Equal bytes get an equal id.
        Raises ConfigurationError where the file cannot be read, InvalidRequestError where the server refuses it.
        """
        params = {"kind": kind, "vocabulary": vocabulary, "target": target, "name": name}
        if isinstance(source, bytes):
            return await self._send(source, params)
        if not isinstance(source, str | os.PathLike):
            stream = source
            # It may be a pipe: of unknown length, and read only once.
            return await self._send(lambda: net.pieces(stream, PIECE_BYTES), params, is_idempotent=False)
        path = Path(source)
        try:
            file = path.open("rb")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
        with file:
            return await self._send(
                lambda: _from_the_start(file), {**params, "name": name or path.name}, num_bytes=_size(file)
            )

    async def _send(
        self,
        content: Body,
        params: dict[str, str | None],
        *,
        num_bytes: int | None = None,
        is_idempotent: bool = True,
    ) -> Dataset:
        # With its length in the header a file over the limit is refused before it is sent.
        length = {} if num_bytes is None else {"Content-Length": str(num_bytes)}
        return await self._transport.ask(
            Dataset,
            "POST",
            "/v1/datasets",
            params=params,
            content=content,
            headers={"Content-Type": "application/octet-stream", **length},
            is_idempotent=is_idempotent,
            timeout_seconds=UPLOAD_SECONDS,
        )

    def list(self, *, limit: int | None = None) -> AsyncIterator[Dataset]:
        """All data sets, newest first, fetched page by page as they are asked for."""
        return self._transport.pages(Dataset, "/v1/datasets", limit=limit)

    async def get(self, dataset: str) -> Dataset:
        """One data set. Raises NotFoundError."""
        return await self._transport.ask(Dataset, "GET", _path(dataset))

    async def preview(self, dataset: str) -> Preview:
        """Its beginning, as the trainers will read it. Raises NotFoundError."""
        return await self._transport.ask(Preview, "GET", f"{_path(dataset)}/preview")

    async def content(self, dataset: str) -> bytes:
        """The bytes that were uploaded. Raises NotFoundError."""
        answer = await self._transport.request("GET", f"{_path(dataset)}/content", timeout_seconds=UPLOAD_SECONDS)
        return answer.content

    async def delete(self, dataset: str) -> dict[str, Any]:
        """Delete it. Raises NotFoundError, and ConflictError while an unfinished job uses it."""
        return await self._transport.ask_plain("DELETE", _path(dataset))


def _from_the_start(file: IO[bytes]) -> AsyncIterator[bytes]:
    file.seek(0)
    return net.pieces(file, PIECE_BYTES)


def _size(file: IO[bytes]) -> int | None:
    """Bytes in a file; None where it is a pipe or the like."""
    return os.fstat(file.fileno()).st_size if file.seekable() else None


def _path(dataset: str) -> str:
    return f"/v1/datasets/{identifier('data set', dataset)}"
