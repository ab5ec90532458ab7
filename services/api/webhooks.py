"""`/v1/webhooks`: be told by a signed POST that a job has ended. Off unless the installation allows it."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from rnncore.errors import Forbidden
from services.api.rooms import Deleted, InRooms, Page, Rooms, Tenant, errors, page
from services.jobqueue.webhooks import Webhook
from services.webhooks import check_url, signing_secret

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


class WebhookRequest(BaseModel):
    """Where to be told."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000, description="http:// or https://, at a public address.")


class NewWebhook(Webhook):
    """A webhook just made; `secret` is shown here and never again."""

    secret: str


@router.post("", responses=errors(403, 409))
def create_webhook(asked: WebhookRequest, rooms: InRooms, tenant: Tenant) -> NewWebhook:
    """Has every end of a job told at `url`: POST, type job.succeeded, job.failed or job.cancelled, the record as data.

    Signed after the Standard Webhooks specification with `secret`; sent again, for 17 hours, until answered 2xx.
    """
    _check_allowed(rooms)
    check_url(asked.url)
    made = rooms.webhooks.create(tenant, asked.url)
    return NewWebhook(**made.model_dump(), secret=signing_secret(rooms.settings.secret, made.id))


@router.get("", responses=errors())
def list_webhooks(rooms: InRooms, tenant: Tenant) -> Page[Webhook]:
    """Webhooks, newest first."""
    found = rooms.webhooks.list(tenant)
    return page(found, False, [webhook.id for webhook in found])


@router.delete("/{webhook_id}", responses=errors(404))
def delete_webhook(webhook_id: Annotated[str, Path(max_length=100)], rooms: InRooms, tenant: Tenant) -> Deleted:
    """Nothing more is told there."""
    rooms.webhooks.delete(tenant, webhook_id)
    return Deleted(id=webhook_id, object="webhook")


def _check_allowed(rooms: Rooms) -> None:
    if rooms.settings.webhooks != "on":
        raise Forbidden("webhooks are off here; whoever runs this service can set UNROLL_WEBHOOKS=on")
