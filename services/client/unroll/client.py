"""The client: one object, its resources. Knows where the server is and what it offers, not how it is spoken to."""

# Written by `make reference` from unroll/aio/client.py; change it there.

import datetime as dt
import json
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from unroll.connection import find_connection
from unroll.resources.completions import Completions
from unroll.resources.datasets import Datasets
from unroll.resources.jobs import Jobs
from unroll.resources.keys import Keys
from unroll.resources.models import Models
from unroll.resources.sweeps import Sweeps
from unroll.resources.tenants import Tenants
from unroll.resources.webhooks import Webhooks
from unroll.transport import Transport
from unroll.types import Line, Readiness, Usage, Worker


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
        params = {name: day and day.isoformat() for name, day in (("start", start), ("end", end))}
        return self._transport.ask(Usage, "GET", "/v1/usage", params=params)

    def workers(self) -> Iterator[Worker]:
        """Every worker by host, and who is there; none while no dispatcher runs."""
        return self._transport.pages(Worker, "/v1/workers")

    def queue(self) -> Line:
        """Unfinished jobs: which wait, for what and how long, which run. With scope admin those of all tenants."""
        return self._transport.ask(Line, "GET", "/v1/queue")

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
