"""Models over HTTP. Knows no weights."""

from collections.abc import Iterator, Sequence
from typing import Any

from unroll.transport import Transport, identifier
from unroll.types import Model, Predictions

# The first answer of a model may wait until its weights are loaded.
LOAD_SECONDS = 300.0


class Models:
    """What can be sampled with this key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, checkpoints: bool = False, limit: int | None = None) -> Iterator[Model]:
        """The best model of each finished job, newest first; with `checkpoints` every checkpoint."""
        params = {"checkpoints": "true"} if checkpoints else None
        return self._transport.pages(Model, "/v1/models", params, limit=limit)

    def inspect(self, model: str, input: Any, **options: Any) -> dict[str, Any]:
        """What happens inside a model while it reads `input`: surprisal, gates, memory, units, gradient against lag.

        Options: top, num_units, units, lags, window. Raises NotFoundError, InvalidRequestError naming the field.
        """
        body = {"model": model, "input": input, **options}
        answer = self._transport.request("POST", "/v1/inspect", json=body, timeout_seconds=LOAD_SECONDS)
        return self._transport.decode(answer)

    def export(self, model: str, *, format: str = "safetensors") -> bytes:
        """The model to take away: `safetensors` or `onnx`. Raises NotFoundError, InvalidRequestError."""
        path = f"/v1/models/{identifier('model', model)}/export"
        answer = self._transport.request("GET", path, params={"format": format}, timeout_seconds=LOAD_SECONDS)
        return answer.content

    def predict(self, model: str, inputs: Sequence[Any], **options: Any) -> Predictions:
        """What a classify, tag, forecast, regress, generate or translate model answers to each of `inputs`.

        Options: beam_width (translate), max_tokens, temperature, top_k, top_p, seed (generate).
        Raises NotFoundError, InvalidRequestError naming the input at fault, ServiceUnavailableError.
        """
        body = {"model": model, "inputs": list(inputs), **options}
        answer = self._transport.request("POST", "/v1/predict", json=body, timeout_seconds=LOAD_SECONDS)
        return self._transport.parse(Predictions, self._transport.decode(answer))
