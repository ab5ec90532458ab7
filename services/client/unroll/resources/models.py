"""Models over HTTP. Knows no weights."""

from collections.abc import Iterator

from unroll.transport import Transport
from unroll.types import Model


class Models:
    """What can be sampled with this key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, checkpoints: bool = False, limit: int | None = None) -> Iterator[Model]:
        """The best model of each finished job, newest first; with `checkpoints` every checkpoint."""
        params = {"checkpoints": "true"} if checkpoints else None
        return self._transport.pages(Model, "/v1/models", params, limit=limit)
