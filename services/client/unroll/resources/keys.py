"""API keys over HTTP: make, list, revoke. Needs a key with scope admin."""

# Written by `make reference` from unroll/aio/resources/keys.py; change it there.

from collections.abc import Iterator
from typing import Any, Unpack

from unroll.answers import identifier
from unroll.requests import KeyFields
from unroll.transport import Transport
from unroll.types import ApiKey


class Keys:
    """The API keys of the installation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, **fields: Unpack[KeyFields]) -> ApiKey:
        """Make one: `create(name="ci", scopes=["read"], tenant="lab", expires_at=..., requests_per_minute=60)`.

        The answer's `key` is its text, which the server does not keep. Raises AuthenticationError, InvalidRequestError.
        """
        return self._transport.ask(ApiKey, "POST", "/v1/keys", json=fields)

    def list(self) -> Iterator[ApiKey]:
        """Those that were not revoked, newest first."""
        return self._transport.pages(ApiKey, "/v1/keys")

    def revoke(self, key: str) -> dict[str, Any]:
        """Let it in no more. Raises NotFoundError, and ConflictError for the last one with scope admin."""
        return self._transport.ask_plain("DELETE", f"/v1/keys/{identifier('key', key)}")
