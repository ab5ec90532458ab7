"""The client: one object, its resources. Knows where the server is and what it offers, not how it is spoken to."""

import datetime as dt
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from unroll.aio.resources.completions import AsyncCompletions
from unroll.aio.resources.datasets import AsyncDatasets
from unroll.aio.resources.jobs import AsyncJobs
from unroll.aio.resources.keys import AsyncKeys
from unroll.aio.resources.models import AsyncModels
from unroll.aio.resources.sweeps import AsyncSweeps
from unroll.aio.resources.tenants import AsyncTenants
from unroll.aio.resources.webhooks import AsyncWebhooks
from unroll.aio.transport import AsyncTransport
from unroll.connection import find_connection
from unroll.types import Line, Readiness, Usage, Worker


class AsyncClient:
    """An Unroll server. `async with AsyncClient() as client:` finds address and key as the `unroll` command does.

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
        self._transport = AsyncTransport(connection, timeout_seconds=timeout_seconds, max_retries=max_retries)
        self.url = connection.url
        self.datasets = AsyncDatasets(self._transport)
        self.jobs = AsyncJobs(self._transport)
        self.sweeps = AsyncSweeps(self._transport)
        self.models = AsyncModels(self._transport)
        self.keys = AsyncKeys(self._transport)
        self.tenants = AsyncTenants(self._transport)
        self.webhooks = AsyncWebhooks(self._transport)
        self.completions = AsyncCompletions(self._transport)

    async def usage(self, start: dt.date | None = None, end: dt.date | None = None) -> Usage:
        """What this key's tenant has used from day `start` to day `end`, UTC and both included.

        Without them: the last 30 days. Raises InvalidRequestError where `end` is before `start`, or far behind it.
        """
        params = {name: day and day.isoformat() for name, day in (("start", start), ("end", end))}
        return await self._transport.ask(Usage, "GET", "/v1/usage", params=params)

    def workers(self) -> AsyncIterator[Worker]:
        """Every worker by host, and who is there; none while no dispatcher runs."""
        return self._transport.pages(Worker, "/v1/workers")

    async def queue(self) -> Line:
        """Unfinished jobs: which wait, for what and how long, which run. With scope admin those of all tenants."""
        return await self._transport.ask(Line, "GET", "/v1/queue")

    async def readiness(self) -> Readiness:
        """Whether the server is ready for work. Raises ServerUnreachableError where there is none."""
        is_ready, body = await self._transport.probe("/readyz")
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        return Readiness(is_ready, said if isinstance(said, dict) else {})

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
