"""Models over HTTP: what can answer, under which names, and what it answers. Knows no weights."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Unpack

from unroll.aio.transport import AsyncTransport
from unroll.answers import identifier
from unroll.requests import InspectOptions, PredictOptions
from unroll.types import Inspection, Model, Predictions

# The first answer of a model may wait until its weights are loaded.
LOAD_SECONDS = 300.0
# What a model computes changes nothing: asking again after a lost answer is safe.
_COMPUTED: dict[str, Any] = {"is_idempotent": True, "timeout_seconds": LOAD_SECONDS}


class AsyncModels:
    """What can be sampled with this key."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, *, checkpoints: bool = False, limit: int | None = None) -> AsyncIterator[Model]:
        """Aliases and the best model of each finished job, newest first; with `checkpoints` every checkpoint."""
        params = {"checkpoints": "true"} if checkpoints else None
        return self._transport.pages(Model, "/v1/models", params, limit=limit)

    async def get(self, model: str) -> Model:
        """One model, by any of its names. Raises NotFoundError."""
        return await self._transport.ask(Model, "GET", _path(model))

    async def alias(self, name: str, model: str) -> Model:
        """Let `name` stand for `model` from now on, and for no other. Raises NotFoundError, InvalidRequestError."""
        return await self._transport.ask(Model, "PUT", _path(name), json={"model": model}, is_idempotent=True)

    async def delete(self, model: str) -> dict[str, Any]:
        """Delete an alias, a checkpoint (`JOB:step-800`), or `JOB`: all of an ended job's.

        Raises NotFoundError, and ConflictError where an alias or an unfinished job needs it.
        """
        return await self._transport.ask_plain("DELETE", _path(model))

    async def export(self, model: str, *, format: str = "safetensors") -> bytes:
        """The model to take away: `safetensors` or `onnx`. Raises NotFoundError, InvalidRequestError."""
        answer = await self._transport.request(
            "GET", f"{_path(model)}/export", params={"format": format}, timeout_seconds=LOAD_SECONDS
        )
        return answer.content

    async def predict(self, model: str, inputs: Sequence[Any], **options: Unpack[PredictOptions]) -> Predictions:
        """What a classify, tag, forecast, regress, generate or translate model answers to each of `inputs`.

        Raises NotFoundError, InvalidRequestError naming the input at fault, ServiceUnavailableError.
        """
        body = {"model": model, "inputs": [*inputs], **options}
        return await self._transport.ask(Predictions, "POST", "/v1/predict", json=body, **_COMPUTED)

    async def inspect(self, model: str, input: Any, **options: Unpack[InspectOptions]) -> Inspection:
        """What happens inside a model while it reads `input`: surprisal, gates, memory, units, gradient against lag.

        Raises NotFoundError, InvalidRequestError naming the field, ServiceUnavailableError.
        """
        body = {"model": model, "input": input, **options}
        return await self._transport.ask(Inspection, "POST", "/v1/inspect", json=body, **_COMPUTED)


def _path(model: str) -> str:
    return f"/v1/models/{identifier('model', model)}"
