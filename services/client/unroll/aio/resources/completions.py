"""Text from a model, whole or as it is written. Knows no sampling rule: the server's defaults hold."""

import json
from collections.abc import AsyncGenerator
from typing import Unpack

from unroll.aio.sse import parse
from unroll.aio.transport import AsyncTransport
from unroll.answers import parsed
from unroll.errors import ProtocolError, ServerUnreachableError, refusal_in_stream
from unroll.frames import DONE
from unroll.requests import CompletionOptions
from unroll.types import Completion

# The first answer of a model may wait until its weights are loaded.
FIRST_SYMBOL_SECONDS = 300.0

Prompt = str | list[str] | list[int] | list[list[int]]


class AsyncCompletions:
    """OpenAI's completions, over this service's models."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, *, model: str, prompt: Prompt = "", **options: Unpack[CompletionOptions]) -> Completion:
        """One completion, whole; `prompt` is a text, a list of texts, or ids of symbols, or a list of such.

        `state=True` asks for a handle of where each text ends, and `state=choice.state` goes on from there.

        Raises NotFoundError, InvalidRequestError (a prompt with a symbol that the model has never seen),
        ServiceUnavailableError, ServerUnreachableError.
        """
        return await self._transport.ask(
            Completion,
            "POST",
            "/v1/completions",
            json={"model": model, "prompt": prompt, **options},
            is_idempotent=True,  # a text that nobody received is written again
            timeout_seconds=FIRST_SYMBOL_SECONDS,
        )

    async def stream(
        self, *, model: str, prompt: Prompt = "", **options: Unpack[CompletionOptions]
    ) -> AsyncGenerator[Completion, None]:
        """The same in pieces, as they are written.

        Raises as `create` does, APIError where the server ends the stream with an error, and ServerUnreachableError
        where it falls silent before `[DONE]`.
        """
        async with self._transport.stream(
            "POST",
            "/v1/completions",
            json={"model": model, "prompt": prompt, **options, "stream": True},
            headers={"Accept": "text/event-stream"},
            is_idempotent=True,
            timeout_seconds=FIRST_SYMBOL_SECONDS,
        ) as chunks:
            async for frame in parse(chunks):
                if frame is None:
                    continue
                if frame.data == DONE:
                    return
                yield self._chunk(frame.data)
        raise ServerUnreachableError(f"{self._transport.url} broke off in mid-text")

    def _chunk(self, data: str) -> Completion:
        try:
            value = json.loads(data)
        except ValueError as error:
            raise ProtocolError(f"a chunk of {self._transport.url} is no JSON") from error
        if isinstance(value, dict) and value.get("error"):
            raise refusal_in_stream(value["error"])
        return parsed(Completion, value, self._transport.url)
