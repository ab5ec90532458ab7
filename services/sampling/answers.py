"""A request and a loaded model -> completion objects, whole or chunk by chunk, or predictions. Knows no HTTP."""

import secrets
import time
from collections.abc import Iterator

from rnncore import probes
from rnncore.errors import InvalidInput
from rnncore.inspection import Inspection
from rnncore.predict import Options, Prediction, encoded_input, predict
from rnncore.sampling import Piece, SamplingParameters, generate
from rnncore.stepper import Stepper
from services.sampling.model_cache import LoadedModel
from services.wire import (
    Choice,
    Completion,
    CompletionRequest,
    InspectRequest,
    PredictCommand,
    PredictionAnswer,
    Predictions,
    Usage,
    WrittenSequence,
)


class Answer:
    """One request being answered.

    Raises when made: UnknownSymbol if the prompt is not of the model's vocabulary, InvalidInput if it writes no text.
    """

    def __init__(self, request: CompletionRequest, fingerprint: str, model: LoadedModel) -> None:
        self._request = request
        task = model.manifest.task
        if task != "language_model":
            raise InvalidInput(f"this model is a {task} and continues no text; ask POST /v1/predict", param="model")
        self._vocabulary = model.manifest.encoding.symbols
        self._stepper = Stepper(model.network)
        self._prompt = [int(i) for i in self._vocabulary.encode(request.prompt)]
        self._fingerprint = fingerprint
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self.num_tokens = 0

    def whole(self) -> Completion:
        """The completion object."""
        choices = []
        for index in range(self._request.n):
            pieces = list(self._pieces(index))
            text = "".join(piece.text for piece in pieces)
            choices.append(Choice(text=text, index=index, finish_reason=pieces[-1].finish_reason))
        return self._completion(choices, self._usage())

    def chunks(self) -> Iterator[Completion]:
        """The chunks of a stream, one a bit of text."""
        for index in range(self._request.n):
            for piece in self._pieces(index):
                if piece.text or piece.finish_reason:
                    choice = Choice(text=piece.text, index=index, finish_reason=piece.finish_reason)
                    yield self._completion([choice], None)
        options = self._request.stream_options
        if options and options.include_usage:
            yield self._completion([], self._usage())

    def _pieces(self, index: int) -> Iterator[Piece]:
        request = self._request
        stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
        # Each choice has a seed of its own, or they would all be the same text.
        seed = None if request.seed is None else (request.seed + index) % 2**63
        parameters = SamplingParameters(
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            stop=stop,
            seed=seed,
        )
        for piece in generate(self._stepper, self._vocabulary, self._prompt, parameters):
            self.num_tokens += piece.num_tokens
            yield piece

    def _completion(self, choices: list[Choice], usage: Usage | None) -> Completion:
        return Completion(
            id=self._id,
            created=self._created,
            model=self._request.model,
            choices=choices,
            system_fingerprint=self._fingerprint,
            usage=usage,
        )

    def _usage(self) -> Usage:
        read = len(self._prompt)
        return Usage(prompt_tokens=read, completion_tokens=self.num_tokens, total_tokens=read + self.num_tokens)


def predictions(command: PredictCommand, model: LoadedModel) -> Predictions:
    """The answer to each input. Raises InvalidInput or UnknownSymbol naming the input at fault."""
    request = command.request
    sampling = SamplingParameters(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        max_tokens=request.max_tokens,
        seed=request.seed,
    )
    found = predict(model.network, model.manifest, list(request.inputs), Options(sampling, request.beam_width))
    data = [_prediction(index, one) for index, one in enumerate(found)]
    return Predictions(model=request.model, task=model.manifest.task, data=data, system_fingerprint=command.fingerprint)


def inspection(request: InspectRequest, model: LoadedModel) -> Inspection:
    """The input seen from inside. Raises InvalidInput or UnknownSymbol naming the field at fault."""
    manifest = model.manifest
    options = probes.Options(
        top=request.top,
        num_units=request.num_units,
        units=tuple((one.layer, one.unit) for one in request.units),
        lags=request.lags,
        window=request.window,
    )
    inputs = encoded_input(manifest, request.input, "input")
    return probes.inspect(model.network, manifest.task, manifest.encoding, inputs, options)


def _prediction(index: int, found: Prediction) -> PredictionAnswer:
    sequences = None
    if found.sequences is not None:
        sequences = [
            WrittenSequence(symbols=one.symbols, text="".join(one.symbols), score=one.score) for one in found.sequences
        ]
    return PredictionAnswer(
        index=index,
        label=found.label,
        probabilities=found.probabilities,
        tags=found.tags,
        values=found.values,
        sequences=sequences,
    )
