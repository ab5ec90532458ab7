"""Tenants over HTTP: their share of the workers and their quotas. Needs a key with scope admin."""

# Written by `make reference` from unroll/aio/resources/tenants.py; change it there.

from collections.abc import Iterator
from typing import Unpack

from unroll.answers import identifier
from unroll.requests import TenantFields
from unroll.transport import Transport
from unroll.types import Tenant


class Tenants:
    """The tenants of the installation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Tenant]:
        """Those with a key or with limits, by name, with what each has running and ready."""
        return self._transport.pages(Tenant, "/v1/tenants")

    def get(self, tenant: str) -> Tenant:
        """One tenant."""
        return self._transport.ask(Tenant, "GET", _path(tenant))

    def put(self, tenant: str, **limits: Unpack[TenantFields]) -> Tenant:
        """Set all its limits: `put("lab", weight=2, max_running=4, max_queued=1000)`; one left out is lifted."""
        return self._transport.ask(Tenant, "PUT", _path(tenant), json=limits, is_idempotent=True)


def _path(tenant: str) -> str:
    return f"/v1/tenants/{identifier('tenant', tenant)}"
