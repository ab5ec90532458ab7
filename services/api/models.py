"""`/v1/models`: every checkpoint under the name it answers to, and the aliases that stand for one."""

from contextlib import suppress
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from rnncore.errors import InvalidInput, NotFound
from rnncore.manifest import WEIGHTS
from rnncore.spec import ModelId
from services.api.forwarding import forward
from services.api.rooms import After, Deleted, InRooms, KeyId, Limit, Page, Rooms, Tenant, errors, page
from services.jobqueue.records import Checkpoint, JobState
from services.models import best_of, is_alias, named, resolve
from services.wire import ExportCommand

router = APIRouter(prefix="/v1/models", tags=["models"])

# OpenAI's clients ask for one page of models alone.
_ALL = 1000


class Model(BaseModel):
    """OpenAI's model object, and what is known of the checkpoint behind it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "unroll"
    alias_of: str | None = Field(None, description="Of an alias: the model that it stands for.")
    job: str
    step: int
    validation_loss: float | None
    bits_per_character: float | None
    parameters_sha256: str


class AliasRequest(BaseModel):
    """What an alias is to stand for."""

    model_config = ConfigDict(extra="forbid")

    model: ModelId = Field(
        description="`<job>` (its best checkpoint, which moves while it runs), `<job>:latest`, `<job>:step-N`, or "
        "another alias: what that one stands for now."
    )


@router.get("", responses=errors(404))
def list_models(
    rooms: InRooms,
    tenant: Tenant,
    checkpoints: Annotated[bool, Query(description="Every checkpoint, those of unfinished jobs too.")] = False,
    limit: Limit = _ALL,
    after: After = None,
) -> Page[Model]:
    """Aliases, then the best checkpoints of finished jobs, the newest first; with `checkpoints`, each one there is."""
    found: list[Model] = []
    if not checkpoints and (after is None or is_alias(after)):
        found, after = _aliases(rooms, tenant, after), None
        if len(found) >= limit:
            return page(found[:limit], True, [model.id for model in found[:limit]])
    state = None if checkpoints else JobState.SUCCEEDED
    behind = after.partition(":")[0] if after else None
    jobs, has_more = rooms.queue.jobs(tenant, state=state, limit=limit - len(found), after=behind)
    for job in jobs:
        kept = rooms.queue.checkpoints(tenant, job.id)
        if checkpoints:
            found += [_model(checkpoint.model, checkpoint) for checkpoint in kept]
        elif kept:
            found.append(_model(job.id, best_of(kept)))
    answer = page(found, has_more, [model.id for model in found])
    # A page holds whole jobs: the next one starts behind the last job, even if it has no checkpoint.
    return answer.model_copy(update={"last_id": jobs[-1].id}) if jobs else answer


@router.get("/{model_id}", responses=errors(404))
def get_model(model_id: str, rooms: InRooms, tenant: Tenant) -> Model:
    """The checkpoint that answers for a name now."""
    stands_for = named(rooms.queue, tenant, model_id)
    alias_of = stands_for if stands_for != model_id else None
    return _model(model_id, resolve(rooms.queue, tenant, stands_for, param="model_id"), alias_of)


@router.put("/{model_id}", responses=errors(404, 409))
def put_alias(model_id: str, asked: AliasRequest, rooms: InRooms, tenant: Tenant) -> Model:
    """Lets an alias of your own stand for a model, which is kept as long as it does; makes the alias or moves it."""
    if not is_alias(model_id):
        raise InvalidInput(
            f"{model_id[:120]!r} cannot be an alias; take at most 100 letters, digits, '.', '_' or '-', begin with a "
            "letter or a digit, but not with 'job-', and leave rnn, lstm and gru to the cells",
            param="model_id",
        )
    stands_for = named(rooms.queue, tenant, asked.model)
    checkpoint = resolve(rooms.queue, tenant, stands_for)
    alias = rooms.queue.aliases.put(tenant, model_id, stands_for)
    return _model(model_id, checkpoint, alias.model)


@router.delete("/{model_id}", responses=errors(404, 409))
def delete_model(model_id: str, rooms: InRooms, tenant: Tenant) -> Deleted:
    """Deletes an alias; or the checkpoint `<job>:step-N`; or, under `<job>`, all that an ended job has.

    Not what an alias names, what an unfinished job starts from, or the newest and the best of an unfinished job.
    """
    if not is_alias(model_id):
        _delete_checkpoints(model_id, rooms, tenant)
    elif not rooms.queue.aliases.delete(tenant, model_id):
        raise NotFound(f"no model {model_id!r}; list yours at GET /v1/models", param="model_id")
    return Deleted(id=model_id, object="model")


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
    pieces = await run_in_threadpool(rooms.storage.read_pieces, f"{checkpoint.path}/{WEIGHTS}")
    return StreamingResponse(pieces, media_type="application/octet-stream")


def _aliases(rooms: Rooms, tenant: str, after: str | None) -> list[Model]:
    """Those behind `after`. One whose checkpoint its running job has given up since has nothing to show."""
    aliases = rooms.queue.aliases.list(tenant)
    if after is not None:
        places = [place for place, alias in enumerate(aliases) if alias.name == after]
        if not places:
            raise NotFound(f"no object {after} to list behind", param="after")
        aliases = aliases[places[0] + 1 :]
    found = []
    for alias in aliases:
        with suppress(NotFound):
            found.append(_model(alias.name, resolve(rooms.queue, tenant, alias.model), alias.model))
    return found


def _delete_checkpoints(model_id: str, rooms: Rooms, tenant: str) -> None:
    job_id, _, which = model_id.partition(":")
    if which in ("latest", "best"):
        raise InvalidInput(
            f"{model_id} is another checkpoint tomorrow; name the one to delete, such as "
            f"{resolve(rooms.queue, tenant, model_id).model}, or {job_id} for all",
            param="model_id",
        )
    leaving = [resolve(rooms.queue, tenant, model_id, param="model_id")]
    if not which:
        leaving = rooms.queue.checkpoints(tenant, job_id)
    rooms.queue.delete_checkpoints(tenant, job_id, [checkpoint.step for checkpoint in leaving], param="model_id")
    for checkpoint in leaving:
        rooms.storage.discard(checkpoint.path)


def _model(model_id: str, checkpoint: Checkpoint, alias_of: str | None = None) -> Model:
    return Model(
        id=model_id,
        created=int(checkpoint.created_at),
        alias_of=alias_of,
        job=checkpoint.job,
        step=checkpoint.step,
        validation_loss=checkpoint.validation_loss,
        bits_per_character=checkpoint.bits_per_character,
        parameters_sha256=checkpoint.parameters_sha256,
    )
