"""`/v1/jobs`: submit, list, watch, cancel, delete."""

import json
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from rnncore.errors import Conflict, NotFound, UnrollError
from rnncore.inspection import Inspection
from rnncore.manifest import INSPECTION
from rnncore.spec import JobSpec
from services import layout
from services.api.history import downsampled
from services.api.rooms import After, Deleted, InRooms, Limit, Page, Rooms, Tenant, errors, page
from services.faults import error_answer
from services.jobqueue.records import Checkpoint, Event, JobRecord, JobState
from services.models import resolve
from services.storage import merged, read_history
from services.submission import submit

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_KEEP_ALIVE_SECONDS = 5.0
_METADATA = "metadata["


class WrittenText(BaseModel):
    """What a network wrote after a prompt."""

    prompt: str
    text: str


class CheckpointSamples(BaseModel):
    """What was written at one checkpoint."""

    object: Literal["checkpoint.samples"] = "checkpoint.samples"
    step: int
    epoch: int
    bits_per_character: float | None
    samples: list[WrittenText]


@router.post("", responses=errors(404, 409, 507))
def submit_job(
    spec: JobSpec,
    rooms: InRooms,
    tenant: Tenant,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> JobRecord:
    """Queues a job; it is safe once this answers. The same Idempotency-Key again answers the same job."""
    return submit(spec, rooms, tenant, idempotency_key=idempotency_key)


@router.get("", responses=errors(404))
def list_jobs(
    request: Request,
    rooms: InRooms,
    tenant: Tenant,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    limit: Limit = 20,
    after: After = None,
) -> Page[JobRecord]:
    """Jobs, newest first. `metadata[key]=value` keeps those that carry the pair."""
    wanted = metadata_in(request)
    found, has_more = rooms.queue.jobs(tenant, state=state, metadata=wanted, limit=limit, after=after)
    return page(found, has_more, [job.id for job in found])


@router.get("/{job_id}", responses=errors(404))
def get_job(job_id: str, rooms: InRooms, tenant: Tenant) -> JobRecord:
    """One job."""
    return rooms.queue.job(tenant, job_id)


@router.delete("/{job_id}", responses=errors(404, 409))
def delete_job(job_id: str, rooms: InRooms, tenant: Tenant) -> Deleted:
    """Deletes an ended job with its checkpoints, history and log."""
    rooms.queue.delete_job(tenant, job_id)
    rooms.storage.discard(layout.job_folder(job_id))
    return Deleted(id=job_id, object="job")


@router.post("/{job_id}/verify", responses=errors(404, 409, 507))
def verify_job(
    job_id: str,
    rooms: InRooms,
    tenant: Tenant,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> JobRecord:
    """Queues the same job again, to end in the same `parameters_sha256`; the answer is the new job's record."""
    spec = rooms.queue.job(tenant, job_id).asked().model_copy(update={"verify_of": job_id})
    return submit(spec, rooms, tenant, idempotency_key=idempotency_key)


@router.post("/{job_id}/retry", responses=errors(404, 409, 507))
def retry_job(
    job_id: str,
    rooms: InRooms,
    tenant: Tenant,
    changes: Annotated[
        dict[str, Any] | None, Body(description="Fields of the spec to change, as a JobSpec has them.")
    ] = None,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> JobRecord:
    """Queues a new job (`retry_of`) that goes on from the last checkpoint of one that has ended.

    It is the same job but for `changes`; what the checkpoint fixes (model, data, windows) cannot be changed.
    """
    source = rooms.queue.job(tenant, job_id)
    if not source.state.is_terminal:
        raise Conflict(f"{job_id} is {source.state}; only a job that has ended is tried again", param="job_id")
    asked = _merged(source.asked().model_dump(mode="json"), changes or {})
    try:
        spec = JobSpec.model_validate(asked | {"verify_of": None, "retry_of": job_id})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    return submit(spec, rooms, tenant, idempotency_key=idempotency_key)


@router.post("/{job_id}/cancel", responses=errors(404))
def cancel_job(job_id: str, rooms: InRooms, tenant: Tenant) -> JobRecord:
    """Ends a queued job at once and a running one after its present step; an ended one stays as it is."""
    return rooms.queue.cancel(tenant, job_id)


@router.post("/{job_id}/pause", responses=errors(404))
def pause_job(job_id: str, rooms: InRooms, tenant: Tenant) -> JobRecord:
    """Sets a queued job aside; a running one stops after its present step, with a checkpoint (`pausing` until then)."""
    return rooms.queue.pause(tenant, job_id)


@router.post("/{job_id}/resume", responses=errors(404))
def resume_job(job_id: str, rooms: InRooms, tenant: Tenant) -> JobRecord:
    """Queues a paused job again, to go on exactly where it stopped; withdraws a pause that is under way."""
    return rooms.queue.resume(tenant, job_id)


@router.get(
    "/{job_id}/events",
    response_model=Page[Event],
    responses=errors(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def list_events(
    request: Request,
    job_id: str,
    rooms: InRooms,
    tenant: Tenant,
    limit: Limit = 100,
    after: Annotated[str | None, Query(pattern=r"^[0-9]{1,16}(-[0-9]{1,16})?$")] = None,
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,16}(-[0-9]{1,16})?$")] = None,
) -> Any:
    """Events, oldest first: as a list, or, with `Accept: text/event-stream`, as they happen until the job ends."""
    if "text/event-stream" not in request.headers.get("accept", ""):
        found, has_more = await run_in_threadpool(rooms.queue.events, tenant, job_id, after=after, limit=limit)
        return page(found, has_more, [event.id for event in found])
    await run_in_threadpool(rooms.queue.job, tenant, job_id)
    frames = _frames(rooms, job_id, last_event_id or after or "0")
    return StreamingResponse(frames, media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.get("/{job_id}/metrics", responses=errors(404))
def get_metrics(
    job_id: str,
    rooms: InRooms,
    tenant: Tenant,
    after: Annotated[int, Query(ge=0, description="Rows past this step.")] = 0,
    points: Annotated[int | None, Query(ge=2, le=100_000, description="Thinned to about so many.")] = None,
) -> Page[dict[str, Any]]:
    """The history of a job. Thinning keeps the lowest and highest loss of each stretch, and every validation."""
    rooms.queue.job(tenant, job_id)
    rows = [row for row in merged(read_history(rooms.storage, layout.metrics(job_id))) if row["step"] > after]
    if points is not None:
        rows = downsampled(rows, points)
    return page(rows, False, [f"{row['epoch']}-{row['step']}" for row in rows])


@router.get(
    "/{job_id}/logs",
    response_class=Response,  # not PlainTextResponse: it would document error answers as plain text too
    responses=errors(404) | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_logs(
    job_id: str,
    rooms: InRooms,
    tenant: Tenant,
    after: Annotated[int, Query(ge=0, le=100_000_000, description="Lines past this number; the first is 1.")] = 0,
) -> Response:
    """What the job's trainers wrote, every attempt."""
    rooms.queue.job(tenant, job_id)
    lines = islice((row["line"] for row in read_history(rooms.storage, layout.logs(job_id))), after, None)
    return PlainTextResponse("".join(f"{line}\n" for line in lines))


@router.get("/{job_id}/samples", responses=errors(404))
def list_samples(job_id: str, rooms: InRooms, tenant: Tenant) -> Page[CheckpointSamples]:
    """What the network wrote at each checkpoint, those deleted since included, oldest first."""
    rooms.queue.job(tenant, job_id)
    rows = merged(read_history(rooms.storage, layout.samples(job_id)))
    found = [CheckpointSamples.model_validate(row) for row in rows]
    return page(found, False, [f"{row.epoch}-{row.step}" for row in found])


@router.get("/{job_id}/checkpoints", responses=errors(404))
def list_checkpoints(job_id: str, rooms: InRooms, tenant: Tenant) -> Page[Checkpoint]:
    """Published checkpoints, latest first; each answers at /v1/completions under its `model`."""
    found = rooms.queue.checkpoints(tenant, job_id)
    return page(found, False, [checkpoint.model for checkpoint in found])


@router.get("/{job_id}/checkpoints/{step}/inspection", response_model=Inspection, responses=errors(404))
def get_inspection(job_id: str, step: int, rooms: InRooms, tenant: Tenant) -> Response:
    """What one saw inside when the checkpoint was made, on the beginning of the validation part."""
    checkpoint = resolve(rooms.queue, tenant, f"{job_id}:step-{step}")
    try:
        body = rooms.storage.get(f"{checkpoint.path}/{INSPECTION}")
    except NotFound as error:
        raise NotFound("this network cannot be looked into: it does not read forwards alone", param="job_id") from error
    return Response(body, media_type="application/json")


def metadata_in(request: Request) -> dict[str, str]:
    """The pairs of a query's `metadata[key]=value`."""
    return {
        name.removeprefix(_METADATA).removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith(_METADATA)
    }


def _merged(spec: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`spec` with `changes`, section by section."""
    return spec | {
        name: spec[name] | value if isinstance(value, dict) and isinstance(spec.get(name), dict) else value
        for name, value in changes.items()
    }


async def _frames(rooms: Rooms, job_id: str, after: str) -> AsyncIterator[str]:
    try:
        async for event in rooms.events.follow(job_id, after, wait_seconds=_KEEP_ALIVE_SECONDS):
            if event is None:
                yield ": keep-alive\n\n"
            else:
                yield f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
    except UnrollError as error:
        yield f"event: error\ndata: {json.dumps(error_answer(error)[1])}\n\n"
        return
    yield "data: [DONE]\n\n"
