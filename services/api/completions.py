"""`/v1/completions`, `/v1/predict` and `/v1/inspect`: resolve the model, and let the sampler answer."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from rnncore.inspection import Inspection
from services.api.forwarding import fingerprint, forward
from services.api.rooms import InRooms, Tenant, errors
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


@router.post("/inspect", response_model=Inspection, responses=errors(404))
async def inspect(request: InspectRequest, rooms: InRooms, tenant: Tenant) -> Any:
    """Looks at one input from inside: surprisal, gates, memory, units, and how far back the gradient reaches."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, request.model)
    return await forward(rooms, "/inspect", InspectCommand(request=request, checkpoint=checkpoint.path))
