"""The public process's line to the sampler. aiohttp, because httpx's pool looks at every connection for each request:
64 streams that begin at once took 12 ms of this process each.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from pydantic import BaseModel

from rnncore.errors import Unavailable
from services.access import sampler_token
from services.settings import Settings

# Below the 5 s after which the sampler closes an idle connection: none is closed just as it is used.
_IDLE_SECONDS = 2.0
_CONNECT_SECONDS = 2.0
_SILENCE_SECONDS = 600.0
_HEALTH_SECONDS = 2.0


class SamplerClient:
    """Sends commands to the sampler, as many at once as there are. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        url = settings.sampler_url or f"unix:{settings.sampler_socket}"
        self._socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        self._base_url = "http://sampler" if self._socket else url.rstrip("/")
        self._headers = {"authorization": f"Bearer {sampler_token(settings.secret)}"}
        self._opened: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def ask(self, path: str, command: BaseModel) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to `command`, its body yet to be read; left unread, the sampler hears its client hang up.

        Raises Unavailable while the sampler does not answer.
        """
        body, headers = command.model_dump_json().encode(), {"content-type": "application/json"}
        with telling_of_absence():
            answer = await self._session.post(self._base_url + path, data=body, headers=headers)
        async with answer:
            yield answer

    async def check(self) -> None:
        """Raises Unavailable where the sampler does not answer soon."""
        timeout = aiohttp.ClientTimeout(total=_HEALTH_SECONDS)
        with telling_of_absence():
            async with self._session.get(f"{self._base_url}/healthz", timeout=timeout) as answer:
                answer.raise_for_status()

    async def close(self) -> None:
        """Ends what is still being answered."""
        if self._opened:
            await self._opened.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:  # now, and not when this was made: it belongs to the loop that runs
            if self._socket:
                line: aiohttp.BaseConnector = aiohttp.UnixConnector(
                    self._socket, limit=0, keepalive_timeout=_IDLE_SECONDS
                )
            else:
                line = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
            self._opened = aiohttp.ClientSession(connector=line, timeout=timeout, headers=self._headers)
        return self._opened


@contextmanager
def telling_of_absence() -> Iterator[None]:
    """Turns the faults of a line to the sampler into Unavailable."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"the sampler does not answer ({type(error).__name__}); try again in a moment") from error
