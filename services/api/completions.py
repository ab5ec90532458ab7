"""`/v1/completions` and `/v1/predict`: resolve the model, and let the sampler answer."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from services.api.forwarding import fingerprint, forward
from services.api.rooms import InRooms, Tenant, errors
from services.models import resolve
from services.wire import (
    Completion,
    CompletionRequest,
    PredictCommand,
    Predictions,
    PredictRequest,
    SampleCommand,
)

router = APIRouter(prefix="/v1", tags=["completions"])


@router.post(
    "/completions",
    response_model=Completion,
    responses=errors(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def create_completion(request: CompletionRequest, rooms: InRooms, tenant: Tenant) -> Any:
    """Continues a prompt with any checkpoint, of a running job too."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, request.model)
    command = SampleCommand(request=request, checkpoint=checkpoint.path, fingerprint=fingerprint(checkpoint))
    return await forward(rooms, "/completions", command, stream=request.stream)


@router.post("/predict", response_model=Predictions, responses=errors(404))
async def create_predictions(request: PredictRequest, rooms: InRooms, tenant: Tenant) -> Any:
    """Classifies, tags, forecasts, regresses, generates or translates each input, as the model's task is."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, request.model)
    command = PredictCommand(request=request, checkpoint=checkpoint.path, fingerprint=fingerprint(checkpoint))
    return await forward(rooms, "/predict", command)
