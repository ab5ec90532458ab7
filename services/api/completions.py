"""`/v1/completions`, `/v1/predict` and `/v1/inspect`: resolve the model, and let the sampler answer."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from rnncore.errors import Overloaded, Unavailable
from rnncore.inspection import Inspection
from services.api.forwarding import fingerprint, forward, forward_stream, tokens_in
from services.api.rooms import InRooms, KeyId, Tenant, errors
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
    StreamOptions,
)

router = APIRouter(prefix="/v1", tags=["completions"])


@router.post(
    "/completions",
    response_model=Completion,
    responses=errors(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def create_completion(request: CompletionRequest, rooms: InRooms, tenant: Tenant, key_id: KeyId) -> Any:
    """Continues a prompt with any checkpoint, of a running job too."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, request.model)
    wants_usage = bool(request.stream_options and request.stream_options.include_usage)
    counted = request.model_copy(update={"stream_options": StreamOptions(include_usage=True)})
    command = SampleCommand(request=counted, checkpoint=checkpoint.path, fingerprint=fingerprint(checkpoint))

    async def count(tokens: int) -> None:
        with suppress(Unavailable, Overloaded):  # who has read the answer is not told that it was not counted
            await run_in_threadpool(rooms.usage.add_tokens, tenant, tokens)

    if request.stream:
        return await forward_stream(rooms, "/completions", command, key_id, count, wants_usage=wants_usage)
    answer = await forward(rooms, "/completions", command, key_id)
    if answer.status_code == 200:
        await count(tokens_in(bytes(answer.body)))
    return answer


@router.post("/predict", response_model=Predictions, responses=errors(404))
async def create_predictions(request: PredictRequest, rooms: InRooms, tenant: Tenant, key_id: KeyId) -> Any:
    """Classifies, tags, forecasts, regresses, generates or translates each input, as the model's task is."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, request.model)
    command = PredictCommand(request=request, checkpoint=checkpoint.path, fingerprint=fingerprint(checkpoint))
    return await forward(rooms, "/predict", command, key_id)


@router.post("/inspect", response_model=Inspection, responses=errors(404))
async def inspect(request: InspectRequest, rooms: InRooms, tenant: Tenant, key_id: KeyId) -> Any:
    """Looks at one input from inside: surprisal, gates, memory, units, and how far back the gradient reaches."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, request.model)
    return await forward(rooms, "/inspect", InspectCommand(request=request, checkpoint=checkpoint.path), key_id)
