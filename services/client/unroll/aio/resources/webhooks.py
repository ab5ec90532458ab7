"""Webhooks over HTTP: make, list, delete. Knows not how a message is signed: whoever receives it checks that."""

from collections.abc import AsyncIterator
from typing import Any

from unroll.aio.transport import AsyncTransport
from unroll.answers import identifier
from unroll.types import Webhook


class AsyncWebhooks:
    """Where this key's tenant is told that a job has ended."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, url: str) -> Webhook:
        """Have every end of a job told at `url`, by a POST signed after the Standard Webhooks specification.

        The answer's `secret` checks the signature; it is not shown again. Raises AuthenticationError where webhooks
        are off, InvalidRequestError for a url that may not be reached, ConflictError where there are too many.
        """
        return await self._transport.ask(Webhook, "POST", "/v1/webhooks", json={"url": url})

    def list(self) -> AsyncIterator[Webhook]:
        """All of them, newest first."""
        return self._transport.pages(Webhook, "/v1/webhooks")

    async def delete(self, webhook: str) -> dict[str, Any]:
        """Have nothing more told there. Raises NotFoundError."""
        return await self._transport.ask_plain("DELETE", f"/v1/webhooks/{identifier('webhook', webhook)}")
