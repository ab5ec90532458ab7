"""`/v1/keys`: make, list and revoke API keys; for keys with scope admin alone, of the whole installation."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from services.api.rooms import Deleted, InRooms, Page, Tenant, errors, page
from services.api.tenants import TENANT_PATTERN
from services.jobqueue.api_keys import ApiKey, Scope

router = APIRouter(prefix="/v1/keys", tags=["keys"])

_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
_TenantName = Annotated[str, Field(pattern=TENANT_PATTERN)]


class KeyRequest(BaseModel):
    """What a new key may do."""

    model_config = ConfigDict(extra="forbid")

    name: _Name | None = Field(None, description="A name for people.")
    tenant: _TenantName | None = Field(None, description="Whose jobs and data it sees; null: those of the asking key.")
    scopes: tuple[Scope, ...] = Field(
        (Scope.READ, Scope.TRAIN, Scope.SAMPLE),
        min_length=1,
        max_length=len(Scope),
        description="read: look; train: data sets and jobs; sample: completions, predict, inspect; admin: keys.",
    )
    expires_at: FiniteFloat | None = Field(None, ge=0, description="Unix seconds; null: never.")
    requests_per_minute: int | None = Field(None, ge=1, le=1_000_000, description="null: as many as it likes.")


class KeyRecord(ApiKey):
    """A key, but for its text."""

    object: str = "key"


class NewKey(KeyRecord):
    """A key just made; `key` is shown here and never again."""

    key: str


@router.post("", responses=errors(403))
def create_key(asked: KeyRequest, rooms: InRooms, tenant: Tenant) -> NewKey:
    """Makes a key. Keep `key`: only its HMAC is stored."""
    wanted = asked.model_dump() | {"tenant": asked.tenant or tenant, "scopes": tuple(dict.fromkeys(asked.scopes))}
    made, text = rooms.access.create(ApiKey(id="", **wanted))
    return NewKey(**made.model_dump(), key=text)


@router.get("", responses=errors(403))
def list_keys(rooms: InRooms) -> Page[KeyRecord]:
    """Keys that were not revoked, newest first."""
    found = [KeyRecord(**key.model_dump()) for key in rooms.access.list()]
    return page(found, False, [key.id for key in found])


@router.delete("/{key_id}", responses=errors(403, 404, 409))
def revoke_key(key_id: str, rooms: InRooms) -> Deleted:
    """Lets a key in no more, from its next request on."""
    rooms.access.revoke(key_id)
    return Deleted(id=key_id, object="key")
