"""`/v1/usage`: what a tenant has used."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query

from rnncore.errors import InvalidInput
from services.api.rooms import InRooms, Tenant, errors
from services.jobqueue.usage import Usage

router = APIRouter(prefix="/v1/usage", tags=["usage"])

_DAYS = 30
_MOST_DAYS = 400


@router.get("", responses=errors())
def get_usage(
    rooms: InRooms,
    tenant: Tenant,
    start: Annotated[dt.date | None, Query(description=f"First day, UTC; unset: {_DAYS} before the last.")] = None,
    end: Annotated[dt.date | None, Query(description="Last day, UTC; today if unset.")] = None,
) -> Usage:
    """Characters trained, worker-seconds and tokens sampled by the key's tenant, by day; and what it has stored."""
    last = end or dt.datetime.now(dt.UTC).date()
    first = start or max(dt.date.min + dt.timedelta(days=_DAYS), last) - dt.timedelta(days=_DAYS)
    if not 0 <= (last - first).days <= _MOST_DAYS:
        raise InvalidInput(
            f"start {first} to end {last} are {(last - first).days} days; 0 to {_MOST_DAYS} can be asked for",
            param="start",
        )
    return rooms.usage.read(tenant, first, last)
