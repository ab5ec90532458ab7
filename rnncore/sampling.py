"""From logits to the next symbol, and from a prompt to a text. Knows no request and no process. V vocabulary."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rnncore.stepper import Stepper
from rnncore.vocabulary import Vocabulary

FinishReason = Literal["stop", "length"]

_GREEDY_BELOW = 1e-6  # logits divided by less leave float32


class SamplingParameters(NamedTuple):
    """How to choose. `temperature` 0 takes the likeliest symbol; `top_k` None and `top_p` 1.0 leave all in play."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    max_tokens: int = 16
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Piece(NamedTuple):
    """A bit of text that is certain to stay, and why the text ended, if it did here. `num_tokens` made it."""

    text: str
    num_tokens: int
    finish_reason: FinishReason | None = None


def probabilities(logits_V: Tensor, parameters: SamplingParameters) -> Tensor:
    """Distribution over the vocabulary: temperature, then the `top_k` likeliest, then the nucleus of mass `top_p`.

    The nucleus (Holtzman 2020) is the smallest set of likeliest symbols whose mass reaches `top_p`.
    """
    if parameters.temperature < _GREEDY_BELOW:
        return torch.nn.functional.one_hot(logits_V.argmax(), logits_V.numel()).float()
    scaled = logits_V / parameters.temperature
    if parameters.top_k is not None and parameters.top_k < scaled.numel():
        least = scaled.topk(parameters.top_k).values[-1]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    p = scaled.softmax(dim=0)
    if parameters.top_p < 1:
        ordered, order = p.sort(descending=True)
        outside = ordered.cumsum(dim=0) - ordered >= parameters.top_p
        outside[0] = False  # a mass of 0 is reached by no symbol at all
        p = p.index_fill(0, order[outside], 0.0)
        p = p / p.sum()
    return p


def seeded(seed: int | None) -> torch.Generator:
    """A generator of its own for one text; without a seed, another one each time."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def generate(
    stepper: Stepper, vocabulary: Vocabulary, prompt: Sequence[int], parameters: SamplingParameters
) -> Iterator[Piece]:
    """Continues `prompt` (ids) until a stop string or `max_tokens`; the last piece says which.

    An empty prompt starts as a text does: with a document's boundary, or after a line break.
    The stop string itself is never part of the text.
    """
    ids = _symbols(stepper, vocabulary, prompt, parameters)
    return _until_stop(vocabulary.pieces(ids), parameters)


def _symbols(
    stepper: Stepper, vocabulary: Vocabulary, prompt: Sequence[int], parameters: SamplingParameters
) -> Iterator[int]:
    generator = seeded(parameters.seed)
    start = list(prompt) or [_beginning(vocabulary)]
    logits, state = stepper.read(torch.tensor([start]))
    for remaining in range(parameters.max_tokens, 0, -1):
        if vocabulary.unknown_id is not None:
            logits[:, vocabulary.unknown_id] = -torch.inf
        chosen = int(torch.multinomial(probabilities(logits[0], parameters), 1, generator=generator))
        yield chosen
        if remaining > 1:
            logits, state = stepper.step(torch.tensor([chosen]), state)


def _beginning(vocabulary: Vocabulary) -> int:
    if vocabulary.kind == "bytes":
        return ord("\n")
    if vocabulary.boundary_id is not None:
        return vocabulary.boundary_id
    return max(0, vocabulary.symbols.find("\n"))


def _until_stop(pieces: Iterator[str], parameters: SamplingParameters) -> Iterator[Piece]:
    """Holds back whatever may yet turn out to be the beginning of a stop string."""
    held, num_tokens = "", 0
    for total, piece in enumerate(pieces, start=1):
        # In byte mode a cut sequence is completed after the last symbol: that piece is no further token.
        num_tokens += total <= parameters.max_tokens
        held += piece
        found = [at for stop in parameters.stop if (at := held.find(stop)) >= 0]
        if found:
            yield Piece(held[: min(found)], num_tokens, "stop")
            return
        kept = _possible_stop(held, parameters.stop)
        if total < parameters.max_tokens:
            text, held = held[: len(held) - kept], held[len(held) - kept :]
            yield Piece(text, num_tokens)
            num_tokens = 0
    yield Piece(held, num_tokens, "length")


def _possible_stop(text: str, stops: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that begins a stop string."""
    longest = max(map(len, stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
