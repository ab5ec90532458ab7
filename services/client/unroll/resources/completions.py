"""Text from a model, whole or as it is written. Knows no sampling rule: the server's defaults hold."""

import json
from collections.abc import Iterator
from typing import Any

from unroll.errors import ProtocolError, ServerUnreachableError, refusal_in_stream
from unroll.sse import DONE, parse
from unroll.transport import Transport
from unroll.types import Completion

# The first answer of a model may wait until its weights are loaded.
FIRST_SYMBOL_SECONDS = 300.0

Prompt = str | list[str] | list[int] | list[list[int]]


class Completions:
    """OpenAI's completions, over this service's models."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, *, model: str, prompt: Prompt = "", **options: Any) -> Completion:
        """One completion, whole; `prompt` is a text, a list of texts, or ids of symbols, or a list of such.

        Options: max_tokens, temperature, top_p, top_k, n, best_of, stop, seed, logprobs, echo, logit_bias,
        presence_penalty, frequency_penalty; `state=True` asks for a handle of where each text ends, and
        `state=choice.state` goes on from there.

        Raises NotFoundError, InvalidRequestError (a prompt with a symbol that the model has never seen),
        ServiceUnavailableError, ServerUnreachableError.
        """
        body = {"model": model, "prompt": prompt, **options}
        answer = self._transport.request("POST", "/v1/completions", json=body, timeout_seconds=FIRST_SYMBOL_SECONDS)
        return self._transport.parse(Completion, self._transport.decode(answer))

    def stream(self, *, model: str, prompt: Prompt = "", **options: Any) -> Iterator[Completion]:
        """The same in pieces, as they are written.

        Raises as `create` does, APIError where the server ends the stream with an error, and ServerUnreachableError
        where it falls silent before `[DONE]`.
        """
        body = {"model": model, "prompt": prompt, **options, "stream": True}
        with self._transport.stream(
            "POST",
            "/v1/completions",
            json=body,
            headers={"Accept": "text/event-stream"},
            timeout_seconds=FIRST_SYMBOL_SECONDS,
        ) as chunks:
            for frame in parse(chunks):
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
        return self._transport.parse(Completion, value)
