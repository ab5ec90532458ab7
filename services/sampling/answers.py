"""A CompletionRequest and a loaded model -> completion objects, whole or chunk by chunk. Knows no HTTP."""

import secrets
import time
from collections.abc import Iterator

from rnncore.sampling import Piece, SamplingParameters, generate
from services.sampling.model_cache import LoadedModel
from services.wire import Choice, Completion, CompletionRequest, Usage


class Answer:
    """One request being answered. Raises UnknownSymbol when made, if the prompt is not of the model's vocabulary."""

    def __init__(self, request: CompletionRequest, fingerprint: str, model: LoadedModel) -> None:
        self._request = request
        self._model = model
        self._prompt = [int(i) for i in model.vocabulary.encode(request.prompt)]
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
        for piece in generate(self._model.stepper, self._model.vocabulary, self._prompt, parameters):
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
