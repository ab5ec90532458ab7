"""From the public process to the sampler and back, unbuffered: for everything that only torch can answer."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
from anyio import CancelScope
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.types import Receive

from rnncore.errors import Unavailable
from services.api.rooms import ErrorAnswer, Rooms
from services.api.sampler_client import telling_of_absence
from services.hangups import while_awaited

_FRAME_END = b"\n\n"
_NO_CHOICES = b'"choices":[],'
_COMMENT = b": "


async def forward(rooms: Rooms, path: str, command: BaseModel, key_id: str, receive: Receive) -> Response:
    """The sampler's answer to `command`, its errors included; given up when the client that `receive` hears leaves.

    Raises Unavailable while it does not answer, TooManyRequests where this key waits for too many answers.
    """
    async with AsyncExitStack() as stack:
        stack.callback(rooms.turnstile.enter(key_id))
        return await while_awaited(receive, _ask_whole(rooms, path, command, stack))


async def forward_stream(
    rooms: Rooms,
    path: str,
    command: BaseModel,
    key_id: str,
    count: Callable[[int], Awaitable[None]],
    *,
    wants_usage: bool,
) -> Response:
    """As `forward`, passing on a stream as it comes. `command` asks for usage: `count` is told how many tokens came.

    The chunk that tells it goes to the client only if `wants_usage`.
    """
    async with AsyncExitStack() as stack:
        stack.callback(rooms.turnstile.enter(key_id))
        answer = await stack.enter_async_context(rooms.sampler.ask(path, command))
        if answer.status != 200:
            return await _whole(answer)
        frames = _passed_on(answer, stack.pop_all(), count, wants_usage=wants_usage)
        return StreamingResponse(frames, media_type="text/event-stream")


def tokens_in(body: bytes) -> int:
    """Tokens that a completion says were sampled."""
    tokens: int = (json.loads(body).get("usage") or {}).get("completion_tokens", 0)
    return tokens


async def _ask_whole(rooms: Rooms, path: str, command: BaseModel, stack: AsyncExitStack) -> Response:
    return await _whole(await stack.enter_async_context(rooms.sampler.ask(path, command)))


async def _whole(answer: aiohttp.ClientResponse) -> Response:
    with telling_of_absence():
        body = await answer.read()
    is_ok = answer.status == 200
    if not is_ok and not _is_error_answer(body):
        raise Unavailable("the sampler failed; its log says why, try again in a moment")
    seconds = answer.headers.get("retry-after", "1" if answer.status == 503 else None)
    headers = {"retry-after": seconds} if seconds and not is_ok else None
    media_type = answer.headers.get("content-type", "application/json") if is_ok else "application/json"
    return Response(body, answer.status, headers, media_type=media_type)


def _is_error_answer(body: bytes) -> bool:
    try:
        ErrorAnswer.model_validate_json(body)
    except ValidationError:
        return False
    return True


async def _passed_on(
    answer: aiohttp.ClientResponse, stack: AsyncExitStack, count: Callable[[int], Awaitable[None]], *, wants_usage: bool
) -> AsyncIterator[bytes]:
    """The sampler's frames as they come. A client that leaves closes it; a sampler that dies is told as an error.

    A comment before the frames says how many tokens there are so far; it is meant for us alone.
    """
    tokens, rest = 0, b""
    async with stack:
        try:
            async for piece in answer.content.iter_any():
                *frames, rest = (rest + piece).split(_FRAME_END)
                shown = []
                for frame in frames:
                    if frame.startswith(_COMMENT):
                        count_so_far, _, frame = frame.partition(b"\n")
                        tokens = int(count_so_far.removeprefix(_COMMENT))
                    if not wants_usage and _NO_CHOICES in frame:
                        continue
                    shown.append(frame + _FRAME_END)
                if shown:
                    yield b"".join(shown)
        except (aiohttp.ClientError, TimeoutError):
            yield b'data: {"error": {"message": "the sampler stopped in mid-stream; ask again", '
            yield b'"type": "server_error", "param": null, "code": "unavailable"}}\n\n'
        finally:
            with CancelScope(shield=True):
                await count(tokens)
