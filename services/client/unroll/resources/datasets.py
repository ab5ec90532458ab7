"""Data sets over HTTP: upload, list, look at, delete. Knows no format: the server validates."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from unroll.errors import ConfigurationError
from unroll.transport import Transport, identifier
from unroll.types import Dataset

UPLOAD_SECONDS = 600.0
PIECE_BYTES = 1 << 16


class Datasets:
    """The data sets of this key's tenant."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(
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
        if isinstance(source, bytes):
            return self._send(source, kind=kind, vocabulary=vocabulary, target=target, name=name)
        if not isinstance(source, str | os.PathLike):
            # Not the object itself: httpx would announce its file's size, which is 0 for a pipe.
            pieces = iter(partial(source.read, PIECE_BYTES), b"")
            return self._send(pieces, kind=kind, vocabulary=vocabulary, target=target, name=name)
        path = Path(source)
        try:
            file = path.open("rb")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
        with file:
            return self._send(file, kind=kind, vocabulary=vocabulary, target=target, name=name or path.name)

    def _send(self, content: bytes | IO[bytes] | Iterator[bytes], **params: str | None) -> Dataset:
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._transport.request(
            "POST", "/v1/datasets", params=params, content=content, headers=headers, timeout_seconds=UPLOAD_SECONDS
        )
        return self._transport.parse(Dataset, self._transport.decode(answer))

    def list(self, *, limit: int | None = None) -> Iterator[Dataset]:
        """All data sets, newest first, fetched page by page as they are asked for."""
        return self._transport.pages(Dataset, "/v1/datasets", limit=limit)

    def get(self, dataset: str) -> Dataset:
        """One data set. Raises NotFoundError."""
        answer = self._transport.request("GET", _path(dataset))
        return self._transport.parse(Dataset, self._transport.decode(answer))

    def delete(self, dataset: str) -> dict[str, Any]:
        """Delete it. Raises NotFoundError, and ConflictError while an unfinished job uses it."""
        return self._transport.decode(self._transport.request("DELETE", _path(dataset)))


def _path(dataset: str) -> str:
    return f"/v1/datasets/{identifier('data set', dataset)}"
