"""The client: one object, its resources. Knows where the server is and what it offers, not how it is spoken to."""

import datetime as dt
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from unroll.connection import find_connection
from unroll.resources.completions import Completions
from unroll.resources.datasets import Datasets
from unroll.resources.jobs import Jobs
from unroll.resources.keys import Keys
from unroll.resources.models import Models
from unroll.resources.sweeps import Sweeps
from unroll.resources.tenants import Tenants
from unroll.resources.usage import read_usage
from unroll.resources.webhooks import Webhooks
from unroll.resources.workers import list_workers, read_line
from unroll.transport import Transport
from unroll.types import Line, Usage, Worker


@dataclass(frozen=True)
class Readiness:
    """Whether the server takes work, and what it says about itself."""

    is_ready: bool
    detail: dict[str, Any]


class Client:
    """An Unroll server. `with Client() as client:` finds address and key as the `unroll` command does.

    Raises ServerUnreachableError, ConfigurationError or AuthenticationError where they cannot be found; nothing is
    sent before the first request.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        max_retries: int = 3,
    ) -> None:
        connection = find_connection(url, api_key)
        self._transport = Transport(connection, timeout_seconds=timeout_seconds, max_retries=max_retries)
        self.url = connection.url
        self.datasets = Datasets(self._transport)
        self.jobs = Jobs(self._transport)
        self.sweeps = Sweeps(self._transport)
        self.models = Models(self._transport)
        self.keys = Keys(self._transport)
        self.tenants = Tenants(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.completions = Completions(self._transport)

    def usage(self, start: dt.date | None = None, end: dt.date | None = None) -> Usage:
        """What this key's tenant has used from day `start` to day `end`, UTC and both included.

        Without them: the last 30 days. Raises InvalidRequestError where `end` is before `start`, or far behind it.
        """
        return read_usage(self._transport, start, end)

    def workers(self) -> list[Worker]:
        """Every worker and who is there; none while no dispatcher runs."""
        return list_workers(self._transport)

    def queue(self) -> Line:
        """Unfinished jobs: which wait, for what and how long, which run. With scope admin those of all tenants."""
        return read_line(self._transport)

    def readiness(self) -> Readiness:
        """Whether the server is ready for work. Raises ServerUnreachableError where there is none."""
        is_ready, body = self._transport.probe("/readyz")
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        return Readiness(is_ready, said if isinstance(said, dict) else {})

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
