"""`/v1/completions`, `/v1/predict` and `/v1/inspect`: resolve the model, and let the sampler answer."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from rnncore.errors import Overloaded, Unavailable
from rnncore.inspection import Inspection
from services.api.forwarding import forward, forward_stream, tokens_in
from services.api.rooms import InRooms, KeyId, Rooms, Tenant, errors
from services.jobqueue.records import Checkpoint
from services.models import resolve
from services.wire import (
    Completion,
    CompletionRequest,
    InspectCommand,
    InspectRequest,
    PredictCommand,
    Predictions,
    PredictRequest,
    SampleCommand,
    fingerprint,
)

router = APIRouter(prefix="/v1", tags=["completions"])


@router.post(
    "/completions",
    response_model=Completion,
    responses=errors(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def create_completion(
    request: CompletionRequest, http: Request, rooms: InRooms, tenant: Tenant, key_id: KeyId
) -> Any:
    """Continues a prompt with any checkpoint, of a running job too."""
    wants_usage = bool(request.stream_options and request.stream_options.include_usage)

    async def count(tokens: int) -> None:
        with suppress(Unavailable, Overloaded):  # who has read the answer is not told that it was not counted
            await run_in_threadpool(rooms.usage.add_tokens, tenant, tokens)

    async def ask(command: BaseModel) -> Response:
        if request.stream:
            return await forward_stream(rooms, "/completions", command, key_id, count, wants_usage=wants_usage)
        return await forward(rooms, "/completions", command, key_id, http.receive)

    def command(checkpoint: Checkpoint) -> SampleCommand:
        return SampleCommand(
            request=request,
            checkpoint=checkpoint.path,
            parameters=checkpoint.parameters_sha256,
            tenant=tenant,
            key=key_id,
        )

    answer = await _ask_for(rooms, tenant, request.model, lambda checkpoint: ask(command(checkpoint)))
    if answer.status_code == 200 and not request.stream:
        await count(tokens_in(bytes(answer.body)))
    return answer


@router.post("/predict", response_model=Predictions, responses=errors(404))
async def create_predictions(
    request: PredictRequest, http: Request, rooms: InRooms, tenant: Tenant, key_id: KeyId
) -> Any:
    """Classifies, tags, forecasts, regresses, generates or translates each input, as the model's task is."""

    async def ask(checkpoint: Checkpoint) -> Response:
        seal = fingerprint(checkpoint.parameters_sha256)
        command = PredictCommand(request=request, checkpoint=checkpoint.path, fingerprint=seal)
        return await forward(rooms, "/predict", command, key_id, http.receive)

    return await _ask_for(rooms, tenant, request.model, ask)


@router.post("/inspect", response_model=Inspection, responses=errors(404))
async def inspect(request: InspectRequest, http: Request, rooms: InRooms, tenant: Tenant, key_id: KeyId) -> Any:
    """Looks at one input from inside: surprisal, gates, memory, units, and how far back the gradient reaches."""

    async def ask(checkpoint: Checkpoint) -> Response:
        command = InspectCommand(request=request, checkpoint=checkpoint.path)
        return await forward(rooms, "/inspect", command, key_id, http.receive)

    return await _ask_for(rooms, tenant, request.model, ask)


async def _ask_for(rooms: Rooms, tenant: str, model: str, ask: Callable[[Checkpoint], Awaitable[Response]]) -> Response:
    """The answer of the checkpoint that `model` names; of its successor where a running job has just dropped it."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, model)
    answer = await ask(checkpoint)
    if answer.status_code == 404:
        newer = await run_in_threadpool(resolve, rooms.queue, tenant, model)
        if newer.path != checkpoint.path:
            return await ask(newer)
    return answer
