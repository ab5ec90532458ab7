"""Usage over HTTP: what a tenant has used, by day. Knows no price."""

import datetime as dt

from unroll.transport import Transport
from unroll.types import Usage


def read_usage(transport: Transport, start: dt.date | None, end: dt.date | None) -> Usage:
    """What was used from day `start` to day `end`, both included; the server fills in what is None."""
    params = {name: day and day.isoformat() for name, day in (("start", start), ("end", end))}
    return transport.parse(Usage, transport.decode(transport.request("GET", "/v1/usage", params=params)))
