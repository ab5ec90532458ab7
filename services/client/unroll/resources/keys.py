"""API keys over HTTP: make, list, revoke. Needs a key with scope admin."""

from collections.abc import Iterator
from typing import Any

from unroll.transport import Transport, identifier
from unroll.types import ApiKey


class Keys:
    """The API keys of the installation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, **fields: Any) -> ApiKey:
        """Make one: `create(name="ci", scopes=["read"], tenant="lab", expires_at=..., requests_per_minute=60)`.

        The answer's `key` is its text, which the server does not keep. Raises AuthenticationError, InvalidRequestError.
        """
        answer = self._transport.request("POST", "/v1/keys", json=fields)
        return self._transport.parse(ApiKey, self._transport.decode(answer))

    def list(self) -> Iterator[ApiKey]:
        """Those that were not revoked, newest first."""
        return self._transport.pages(ApiKey, "/v1/keys")

    def revoke(self, key: str) -> dict[str, Any]:
        """Let it in no more. Raises NotFoundError, and ConflictError for the last one with scope admin."""
        return self._transport.decode(self._transport.request("DELETE", f"/v1/keys/{identifier('key', key)}"))
