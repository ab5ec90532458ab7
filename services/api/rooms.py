"""What every route needs: the rooms it may call, and whose request it is."""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from services.access import Access
from services.api.sampler_client import SamplerClient
from services.api.turnstile import Turnstile
from services.jobqueue.api_keys import Scope
from services.jobqueue.floor import Floor
from services.jobqueue.line import Lines
from services.jobqueue.queue import JobQueue
from services.jobqueue.stream import EventStream
from services.jobqueue.sweeps import Sweeps
from services.jobqueue.tenants import Tenants
from services.jobqueue.tries import Tries
from services.jobqueue.usage import UsageLedger
from services.jobqueue.webhooks import Webhooks
from services.settings import Settings
from services.storage import Storage

T = TypeVar("T")


@dataclass(frozen=True)
class Rooms:
    """The rooms of one running public process."""

    settings: Settings
    queue: JobQueue
    sweeps: Sweeps
    access: Access
    tenants: Tenants
    floor: Floor
    lines: Lines
    usage: UsageLedger
    tries: Tries
    webhooks: Webhooks
    events: EventStream
    storage: Storage
    sampler: SamplerClient
    turnstile: Turnstile


# Coroutines, because FastAPI sends plain functions to a thread, which costs more than they do.
async def _rooms(request: Request) -> Rooms:
    rooms: Rooms = request.app.state.rooms
    return rooms


async def _tenant(request: Request) -> str:
    tenant: str = request.state.key.tenant  # set by the door, which lets nobody in without a key
    return tenant


async def _key_id(request: Request) -> str:
    key_id: str = request.state.key.id
    return key_id


async def _seen(request: Request) -> str | None:
    key = request.state.key
    return None if Scope.ADMIN in key.scopes else key.tenant


KeyId = Annotated[str, Depends(_key_id)]
InRooms = Annotated[Rooms, Depends(_rooms)]
Tenant = Annotated[str, Depends(_tenant)]
# Whose jobs the key may see in what all tenants share: None, those of all, with scope admin.
Seen = Annotated[str | None, Depends(_seen)]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
After = Annotated[str | None, Query(max_length=100, description="Those behind the object of this id.")]


class Page(BaseModel, Generic[T]):
    """One page of a list; `after=<last_id>` asks for the next."""

    object: str = "list"
    data: list[T]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class Deleted(BaseModel):
    """Something that is gone."""

    id: str
    object: str
    deleted: bool = True


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """Every error answer."""

    error: ErrorDetail


def page(data: list[T], has_more: bool, ids: list[str]) -> Page[T]:
    """A page of `data`, whose objects have `ids`."""
    return Page[T](data=data, has_more=has_more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None)


def errors(*statuses: int) -> dict[int | str, dict[str, object]]:
    """OpenAPI's `responses` for error answers; 401, 422 and 503 can come from every route."""
    return {status: {"model": ErrorAnswer} for status in (*statuses, 401, 422, 503)}
