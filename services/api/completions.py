"""`/v1/completions`: resolves the model and passes request and answer between client and sampler, unbuffered."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from rnncore.errors import Unavailable
from services.api.rooms import ErrorAnswer, InRooms, Tenant, errors
from services.models import resolve
from services.wire import Completion, CompletionRequest, SampleCommand

router = APIRouter(prefix="/v1/completions", tags=["completions"])


@router.post(
    "",
    response_model=Completion,
    responses=errors(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def create_completion(request: CompletionRequest, rooms: InRooms, tenant: Tenant) -> Any:
    """Continues a prompt with any checkpoint, of a running job too."""
    checkpoint = await run_in_threadpool(resolve, rooms.queue, tenant, request.model)
    command = SampleCommand(
        request=request, checkpoint=checkpoint.path, fingerprint=f"fp_{checkpoint.parameters_sha256[:16]}"
    )
    stack = AsyncExitStack()
    try:
        answer = await stack.enter_async_context(
            rooms.sampler.stream("POST", "/completions", json=command.model_dump(mode="json"))
        )
        if answer.status_code == 200 and request.stream:
            return StreamingResponse(_passed_on(answer, stack), media_type="text/event-stream")
        body = await answer.aread()
    except httpx.TransportError as error:
        await stack.aclose()
        raise Unavailable(f"the sampler does not answer ({type(error).__name__}); try again in a moment") from error
    await stack.aclose()
    if answer.status_code != 200 and not _is_error_answer(body):
        raise Unavailable("the sampler failed; its log says why, try again in a moment")
    headers = {"retry-after": "1"} if answer.status_code == 503 else None
    return Response(body, answer.status_code, headers, media_type="application/json")


def _is_error_answer(body: bytes) -> bool:
    try:
        ErrorAnswer.model_validate_json(body)
    except ValidationError:
        return False
    return True


async def _passed_on(answer: httpx.Response, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """The sampler's stream as it comes. A client that leaves closes it; a sampler that dies is told as an error."""
    async with stack:
        try:
            async for piece in answer.aiter_raw():
                yield piece
        except httpx.TransportError:
            yield b'data: {"error": {"message": "the sampler stopped in mid-stream; ask again", '
            yield b'"type": "server_error", "param": null, "code": "unavailable"}}\n\n'
