"""`/v1/models`: every checkpoint under the name it answers to."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from rnncore.manifest import WEIGHTS
from services.api.forwarding import forward
from services.api.rooms import After, InRooms, KeyId, Limit, Page, Tenant, errors, page
from services.jobqueue.records import Checkpoint, JobState
from services.models import resolve
from services.wire import ExportCommand

router = APIRouter(prefix="/v1/models", tags=["models"])


class Model(BaseModel):
    """OpenAI's model object, and what is known of the checkpoint behind it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "unroll"
    job: str
    step: int
    validation_loss: float | None
    bits_per_character: float | None
    parameters_sha256: str


@router.get("", responses=errors(404))
def list_models(
    rooms: InRooms,
    tenant: Tenant,
    checkpoints: Annotated[bool, Query(description="Every checkpoint, those of unfinished jobs too.")] = False,
    limit: Limit = 20,
    after: After = None,
) -> Page[Model]:
    """Best checkpoints of finished jobs, newest job first; with `checkpoints`, each one there is."""
    behind = after.partition(":")[0] if after else None
    state = None if checkpoints else JobState.SUCCEEDED
    jobs, has_more = rooms.queue.jobs(tenant, state=state, limit=limit, after=behind)
    found = []
    for job in jobs:
        kept = rooms.queue.checkpoints(tenant, job.id)
        if checkpoints:
            found += [_model(checkpoint.model, checkpoint) for checkpoint in kept]
        elif kept:
            found.append(_model(job.id, resolve(rooms.queue, tenant, job.id)))
    answer = page(found, has_more, [model.id for model in found])
    # A page holds whole jobs: the next one starts behind the last job, even if it has no checkpoint.
    return answer.model_copy(update={"last_id": jobs[-1].id if jobs else None})


@router.get("/{model_id}", responses=errors(404))
def get_model(model_id: str, rooms: InRooms, tenant: Tenant) -> Model:
    """The checkpoint that answers for a name now."""
    return _model(model_id, resolve(rooms.queue, tenant, model_id))


@router.get(
    "/{model_id}/export",
    response_class=Response,
    responses=errors(404) | {200: {"content": {"application/octet-stream": {}}}},
)
async def export_model(
    model_id: str,
    rooms: InRooms,
    tenant: Tenant,
    key_id: KeyId,
    http: Request,
    format: Annotated[Literal["safetensors", "onnx"], Query(description="What to write.")] = "safetensors",
) -> Response:
    """The model to take away: the parameters as they are stored, or an ONNX graph with its state going in and out."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, model_id)
    if format == "onnx":
        return await forward(rooms, "/export", ExportCommand(checkpoint=checkpoint.path), key_id, http.receive)
    pieces = rooms.storage.read_pieces(f"{checkpoint.path}/{WEIGHTS}")
    return StreamingResponse(pieces, media_type="application/octet-stream")


def _model(model_id: str, checkpoint: Checkpoint) -> Model:
    return Model(
        id=model_id,
        created=int(checkpoint.created_at),
        job=checkpoint.job,
        step=checkpoint.step,
        validation_loss=checkpoint.validation_loss,
        bits_per_character=checkpoint.bits_per_character,
        parameters_sha256=checkpoint.parameters_sha256,
    )
