"""A completion request and a loaded model -> rows for the batcher, and what they wrote -> OpenAI's objects.

Knows no HTTP. An answer belongs to one event loop; the batcher's thread reaches it through `wake` alone.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rnncore.errors import InvalidInput, UnknownSymbol
from rnncore.sampling import SamplingParameters
from rnncore.vocabulary import Vocabulary
from rnncore.writing import Writer, beginning
from services.sampling.batcher import Batcher
from services.sampling.handles import Context, StateHandles
from services.sampling.lane import Engine
from services.sampling.model_cache import LoadedModel
from services.sampling.row import FinishReason, Row, Score
from services.wire import CompletionRequest, SampleCommand, fingerprint

_SECONDS = 600.0


class CompletionAnswer:
    """One request being answered. Times are those of the performance counter.

    Raises when made: UnknownSymbol if a prompt is not of the model's vocabulary, InvalidInput if the model writes no
    text or the state is not its, StateExpired.
    """

    def __init__(
        self, command: SampleCommand, model: LoadedModel, handles: StateHandles, *, asked_at: float | None = None
    ) -> None:
        self.asked_at = time.perf_counter() if asked_at is None else asked_at
        self._command = command
        self._request = command.request
        self._handles = handles
        task = model.manifest.task
        if model.stepper is None or task != "language_model":
            raise InvalidInput(f"this model is a {task} and continues no text; ask POST /v1/predict", param="model")
        self._vocabulary = model.manifest.encoding.symbols
        self._engine = Engine(model.stepper, command.parameters, self._vocabulary.unknown_id)
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._wakeup = asyncio.Event()
        self._prompts = [_ids(self._vocabulary, prompt) for prompt in self._request.prompts]
        self.context = self._given_context()
        self._texts = [_Text(self, number) for number in range(len(self._prompts) * self._per_prompt)]
        self.outcome: Literal["ok", "failed", "left"] = "left"
        self.first_token_at: float | None = None

    @property
    def num_written(self) -> int:
        """Tokens that were sampled so far."""
        return sum(len(text.row.written) for text in self._texts)

    @property
    def num_written_of_longest(self) -> int:
        """Tokens of the longest of its texts, which are written side by side."""
        return max(len(text.row.written) for text in self._texts)

    @property
    def is_stream(self) -> bool:
        return self._request.stream

    @property
    def rows(self) -> list[Row]:
        return [text.row for text in self._texts]

    def submit(self, batcher: Batcher) -> None:
        """Has the texts written. Raises TooManyRequests or Overloaded."""
        for first in range(0, len(self._texts), self._per_prompt):
            self._texts[first].row.siblings = [text.row for text in self._texts[first + 1 : first + self._per_prompt]]
        batcher.submit(self._engine, self.rows)

    def wake(self) -> None:
        """There is news of a row. On the event loop."""
        if self.first_token_at is None and self.num_written_of_longest:
            self.first_token_at = time.perf_counter()
        self._wakeup.set()

    async def whole(self) -> bytes:
        """The completion object. Raises what ended a row."""
        with self._noting_outcome():
            while not all(row.has_ended for row in self.rows):
                await self._wakeup.wait()
                self._wakeup.clear()
            # The scores of a long prompt take a while to spell; streams go on meanwhile.
            return await asyncio.to_thread(self._whole)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The frames of a stream, as many as there are each time; the last one counts tokens. Raises as `whole`."""
        async for news in self._news():
            frames = [b"data: %b\n\n" % self._object([text.choice(piece)], None) for text, piece in news]
            yield _count(self.num_written) + b"".join(frames)
        yield b"data: %b\n\n" % self._object([], self._usage())

    async def _news(self) -> AsyncIterator[list[tuple["_Text", "_Piece"]]]:
        """What has come of all texts since the last time, until all have ended."""
        with self._noting_outcome():
            while True:
                if news := [(text, piece) for text in self._texts for piece in text.news() if piece.is_something]:
                    yield news
                if all(text.has_ended for text in self._texts):
                    return
                await self._wakeup.wait()
                self._wakeup.clear()

    @contextmanager
    def _noting_outcome(self) -> Iterator[None]:
        try:
            yield
            self.outcome = "ok"
        except Exception:
            self.outcome = "failed"
            raise

    def _whole(self) -> bytes:
        choices = [text.choice(_joined(text.news())) for text in self._texts]
        return self._object(self._best(choices), self._usage())

    @property
    def _per_prompt(self) -> int:
        return self._request.best_of or self._request.n

    def _given_context(self) -> Context | None:
        """Where the state of the request stands."""
        handle, command = self._request.state, self._command
        if not isinstance(handle, str):
            return None
        return self._handles.read(handle, tenant=command.tenant, parameters=command.parameters)

    def _best(self, choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of each prompt the n texts of highest mean log-probability, where more were written than are wanted."""
        n, per_prompt = self._request.n, self._per_prompt
        if per_prompt == n:
            return choices
        best = []
        for first in range(0, len(choices), per_prompt):
            numbers = sorted(range(first, first + per_prompt), key=lambda k: -self._texts[k].mean_logprob)
            best += [choices[k] for k in numbers[:n]]
        return [choice | {"index": index} for index, choice in enumerate(best)]

    def _usage(self) -> dict[str, int]:
        read, written = sum(map(len, self._prompts)), self.num_written
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def _object(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> bytes:
        return json.dumps(
            {
                "id": self._id,
                "object": "text_completion",
                "created": self._created,
                "model": self._request.model,
                "choices": choices,
                "system_fingerprint": fingerprint(self._command.parameters),
                "usage": usage,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()


class _Text:
    """One of the texts of a request: its row, and what of it was told already."""

    def __init__(self, answer: CompletionAnswer, number: int) -> None:
        request = answer._request
        place = number % answer._per_prompt
        prompt = answer._prompts[number // answer._per_prompt]
        self._answer = answer
        self._vocabulary = answer._vocabulary
        self.index = number
        self.has_ended = False
        context = answer.context
        stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
        ids = prompt if context is None else np.concatenate([context.unread, prompt])
        self.row = Row(
            key=answer._command.key,
            ids=ids if len(ids) else np.array([beginning(self._vocabulary)]),
            state_S=None if context is None else torch.from_numpy(context.state_S),
            parameters=_parameters(request, place, self._vocabulary.size, stop),
            num_top=0 if request.logprobs is None and answer._per_prompt > request.n else request.logprobs,
            scores_prompt=request.echo and request.logprobs is not None,
            wants_state=bool(request.state),
            watch=Writer(self._vocabulary, stop) if stop else None,
            deadline=time.monotonic() + _SECONDS,
        )
        self._writer = Writer(self._vocabulary, stop)
        self._num_seen = self._num_told = 0
        self._prompt = prompt
        given = request.prompts[number // answer._per_prompt]
        self._echo = (given if isinstance(given, str) else self._vocabulary.decode(given)) if request.echo else ""
        self._has_echoed = not request.echo

    @property
    def mean_logprob(self) -> float:
        scores = self.row.scores
        return sum(score.logprob for score in scores) / max(1, len(scores))

    def news(self) -> list["_Piece"]:
        """What came since the last time. Raises what ended the row."""
        row = self.row
        if self.has_ended:
            return []
        if row.error is not None:
            raise row.error
        is_last = row.has_ended  # looked at first: what is written then is all of it
        ids = row.written[self._num_seen :]
        if not (ids or is_last):
            return []
        pieces = [] if self._has_echoed else [_Piece(self._echo, self._prompt_tokens())]
        self._has_echoed = True
        self._num_seen += len(ids)
        text = self._writer.add(ids)
        if not is_last:
            return [*pieces, _Piece(text, self._new_tokens())]
        self.has_ended = True
        text += self._writer.end()
        return [*pieces, _Piece(text, self._new_tokens(), row.finish_reason, self._handle())]

    def choice(self, piece: "_Piece") -> dict[str, Any]:
        """OpenAI's choice object."""
        choice: dict[str, Any] = {"text": piece.text, "index": self.index, "logprobs": None}
        if self._answer._request.logprobs is not None:
            choice["logprobs"] = self._logprobs(piece.tokens)
        choice["finish_reason"] = piece.finish_reason
        if piece.state is not None:
            choice["state"] = piece.state
        return choice

    def _logprobs(self, tokens: Sequence["_Token"]) -> dict[str, Any]:
        name = self._vocabulary.name
        top = []
        for token in tokens:
            best = None
            if token.score is not None:
                best = {name(i): logprob for i, logprob in token.score.top} | {name(token.id): token.score.logprob}
            top.append(best)
        return {
            "tokens": [name(token.id) for token in tokens],
            "token_logprobs": [token.score.logprob if token.score else None for token in tokens],
            "top_logprobs": top,
            "text_offset": [token.offset for token in tokens],
        }

    def _prompt_tokens(self) -> list["_Token"]:
        """The symbols of the prompt; the first of a text has no score, for nothing came before it."""
        if self._answer._request.logprobs is None:
            return []
        spelling = Writer(self._vocabulary)
        spelling.add(self._prompt.tolist())
        # Behind a state every symbol of the prompt has a score; the symbols that the state has not read have, too.
        scores: list[Score | None] = [None, *self.row.prompt_scores][-len(self._prompt) :] if len(self._prompt) else []
        return [_Token(*token) for token in zip(self._prompt.tolist(), scores, spelling.offsets, strict=True)]

    def _new_tokens(self) -> list["_Token"]:
        """The symbols whose text was given out since the last time."""
        if self._answer._request.logprobs is None:
            return []
        first, self._num_told = self._num_told, self._writer.num_kept
        row, offsets = self.row, self._writer.offsets
        begin = len(self._echo)
        return [_Token(row.written[k], row.scores[k], begin + offsets[k]) for k in range(first, self._num_told)]

    def _handle(self) -> str | None:
        command, context = self._answer._command, self.row.context
        if context is None:
            return None
        return self._answer._handles.make(context, tenant=command.tenant, parameters=command.parameters)


class _Token(NamedTuple):
    """One symbol of a text as `logprobs` tells it."""

    id: int
    score: Score | None
    offset: int


class _Piece(NamedTuple):
    """A bit of a text that is certain to stay; the last one says why the text ended, and where it stands."""

    text: str
    tokens: Sequence[_Token]
    finish_reason: FinishReason | None = None
    state: str | None = None

    @property
    def is_something(self) -> bool:
        return bool(self.text or self.tokens or self.finish_reason)


def _joined(pieces: list[_Piece]) -> _Piece:
    last = pieces[-1]
    tokens = [token for piece in pieces for token in piece.tokens]
    return last._replace(text="".join(piece.text for piece in pieces), tokens=tokens)


def _ids(vocabulary: Vocabulary, prompt: str | list[int]) -> NDArray[np.int64]:
    if isinstance(prompt, str):
        return vocabulary.encode(prompt)
    ids = np.array(prompt, dtype=np.int64)
    outside = np.flatnonzero(ids >= vocabulary.size)
    if outside.size:
        at = int(outside[0])
        raise UnknownSymbol(
            f"id {ids[at]} at place {at} is no symbol; the model has {vocabulary.size}, 0 to {vocabulary.size - 1}",
            param="prompt",
        )
    return ids


def _parameters(
    request: CompletionRequest, place: int, vocabulary_size: int, stop: tuple[str, ...]
) -> SamplingParameters:
    bias = tuple((int(i), amount) for i, amount in (request.logit_bias or {}).items())
    for i, _ in bias:
        if i >= vocabulary_size:
            raise InvalidInput(f"has symbol {i}; the model has 0 to {vocabulary_size - 1}", param="logit_bias")
    return SamplingParameters(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        max_tokens=request.max_tokens,
        stop=stop,
        # Each choice has a seed of its own, or they would all be the same text.
        seed=None if request.seed is None else (request.seed + place) % 2**63,
        logit_bias=bias,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
    )


def _count(tokens: int) -> bytes:
    """A comment of the stream for the public process: how many tokens there are so far, should its client leave."""
    return b": %d\n" % tokens
