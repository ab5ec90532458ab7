"""`/v1/fine_tuning/jobs`: jobs as OpenAI's clients submit, steer and watch them."""

import re
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request

from rnncore.errors import NotFound, UnrollError
from services.api.jobs import metadata_in
from services.api.openai.answers import (
    FineTuningCheckpoint,
    FineTuningEvent,
    FineTuningJob,
    checkpoint_answer,
    event_answer,
    job_answer,
)
from services.api.openai.requests import FineTuningRequest
from services.api.rooms import After, InRooms, KeyId, Limit, Page, Tenant, errors, page
from services.jobqueue.tries import WINDOW_SECONDS
from services.submission import submit

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["openai"])

_CHECKPOINT = re.compile(r"(?P<job>job-[0-9a-f]{16}):step-(?P<step>[0-9]{1,12})")


async def _body_hash(request: Request) -> str:
    return sha256(await request.body()).hexdigest()


@router.post("", responses=errors(404, 409, 429, 507))
def create_fine_tuning_job(
    asked: FineTuningRequest,
    rooms: InRooms,
    tenant: Tenant,
    key_id: KeyId,
    body_hash: Annotated[str, Depends(_body_hash)],
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    x_stainless_retry_count: Annotated[
        int, Header(ge=0, le=1000, description="Over 0: the client repeats a request whose answer it did not get.")
    ] = 0,
) -> FineTuningJob:
    """Queues a job. A repetition within a minute, as OpenAI's clients send them unasked, answers the same job.

    Not so where the same key sent the same body as a first try twice: nobody can tell then which one is repeated.
    """
    seconds = None
    if idempotency_key is None:
        idempotency_key = rooms.tries.idempotency_key(key_id, body_hash, is_repeated=x_stainless_retry_count > 0)
        seconds = 2 * WINDOW_SECONDS  # a try that was slow to get here counts from then on
        if x_stainless_retry_count and (known := rooms.queue.submitted(tenant, idempotency_key)):
            return job_answer(known)
    spec = asked.spec()
    try:
        record = submit(spec, rooms, tenant, idempotency_key=idempotency_key, idempotency_seconds=seconds)
    except UnrollError as error:
        if error.param and error.param != "Idempotency-Key":
            error.param = asked.place(error.param)
        raise
    return job_answer(record)


@router.get("", responses=errors(404))
def list_fine_tuning_jobs(
    request: Request, rooms: InRooms, tenant: Tenant, limit: Limit = 20, after: After = None
) -> Page[FineTuningJob]:
    """Jobs, newest first. `metadata[key]=value` keeps those that carry the pair."""
    found, has_more = rooms.queue.jobs(tenant, metadata=metadata_in(request), limit=limit, after=after)
    return page([job_answer(job) for job in found], has_more, [job.id for job in found])


@router.get("/{job_id}", responses=errors(404))
def get_fine_tuning_job(job_id: str, rooms: InRooms, tenant: Tenant) -> FineTuningJob:
    """One job."""
    return job_answer(rooms.queue.job(tenant, job_id))


@router.post("/{job_id}/cancel", responses=errors(404))
def cancel_fine_tuning_job(job_id: str, rooms: InRooms, tenant: Tenant) -> FineTuningJob:
    """Ends a queued job at once and a running one after its present step; an ended one stays as it is."""
    return job_answer(rooms.queue.cancel(tenant, job_id))


@router.post("/{job_id}/pause", responses=errors(404))
def pause_fine_tuning_job(job_id: str, rooms: InRooms, tenant: Tenant) -> FineTuningJob:
    """Sets a job aside; a running one stops after its present step, with a checkpoint."""
    return job_answer(rooms.queue.pause(tenant, job_id))


@router.post("/{job_id}/resume", responses=errors(404))
def resume_fine_tuning_job(job_id: str, rooms: InRooms, tenant: Tenant) -> FineTuningJob:
    """Queues a paused job again; withdraws a pause that is under way."""
    return job_answer(rooms.queue.resume(tenant, job_id))


@router.get("/{job_id}/events", responses=errors(404))
def list_fine_tuning_events(
    job_id: str,
    rooms: InRooms,
    tenant: Tenant,
    limit: Limit = 20,
    after: Annotated[str | None, Query(pattern=r"^[0-9]{1,16}(-[0-9]{1,16})?$")] = None,
) -> Page[FineTuningEvent]:
    """Events, newest first; at /v1/jobs/{id}/events they come as they happen."""
    found, has_more = rooms.queue.events(tenant, job_id, after=after, limit=limit, newest_first=True)
    return page([event_answer(event) for event in found], has_more, [event.id for event in found])


@router.get("/{job_id}/checkpoints", responses=errors(404))
def list_fine_tuning_checkpoints(
    job_id: str, rooms: InRooms, tenant: Tenant, limit: Limit = 10, after: After = None
) -> Page[FineTuningCheckpoint]:
    """Published checkpoints, latest first; each answers at /v1/completions under its id."""
    found = rooms.queue.checkpoints(tenant, job_id)
    if after is not None:
        match = _CHECKPOINT.fullmatch(after)
        if match is None or match["job"] != job_id:
            raise NotFound(f"no checkpoint {after} of {job_id} to list behind", param="after")
        # By its step, for a job that runs may have deleted it since.
        found = [checkpoint for checkpoint in found if checkpoint.step < int(match["step"])]
    shown = found[:limit]
    return page([checkpoint_answer(c) for c in shown], len(found) > limit, [c.model for c in shown])
