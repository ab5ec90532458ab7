"""From the public process to the sampler and back, unbuffered: for everything that only torch can answer."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ValidationError

from rnncore.errors import Unavailable
from services.api.rooms import ErrorAnswer, Rooms
from services.jobqueue.records import Checkpoint


def fingerprint(checkpoint: Checkpoint) -> str:
    """Says which parameters answered."""
    return f"fp_{checkpoint.parameters_sha256[:16]}"


async def forward(rooms: Rooms, path: str, command: BaseModel, *, stream: bool = False) -> Response:
    """The sampler's answer to `command`, its errors included. Raises Unavailable while it does not answer."""
    stack = AsyncExitStack()
    try:
        answer = await stack.enter_async_context(
            rooms.sampler.stream("POST", path, json=command.model_dump(mode="json"))
        )
        if answer.status_code == 200 and stream:
            return StreamingResponse(_passed_on(answer, stack), media_type="text/event-stream")
        body = await answer.aread()
    except httpx.TransportError as error:
        await stack.aclose()
        raise Unavailable(f"the sampler does not answer ({type(error).__name__}); try again in a moment") from error
    await stack.aclose()
    if answer.status_code != 200 and not _is_error_answer(body):
        raise Unavailable("the sampler failed; its log says why, try again in a moment")
    headers = {"retry-after": "1"} if answer.status_code == 503 else None
    is_ok = answer.status_code == 200
    media_type = answer.headers.get("content-type", "application/json") if is_ok else "application/json"
    return Response(body, answer.status_code, headers, media_type=media_type)


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
