"""How much of what a network wrote stands word for word in its training text. Torch-free; knows no network.

N stretches of one length begin at each symbol of a text; two texts are compared by their stretches' hashes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore.inspection import CopiedSample, Copying
from rnncore.vocabulary import Vocabulary

LENGTHS = (8, 12, 16, 24)
PASSAGE = 12
"""A passage that people would call copied: about two words and a half of English."""
MAX_SEARCHED = 1 << 23
_HELD_OUT = 2048
_PIECE = 1 << 20
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no symbol's share of a hash is lost

Ids = NDArray[np.unsignedinteger[Any]]
Hashes = NDArray[np.uint64]


def copying(training: Ids, held_out: Ids, vocabulary: Vocabulary, samples: Sequence[tuple[str, str]]) -> Copying | None:
    """Shares of `samples` (prompt, text) that are found in the first symbols of `training`; None for too short ones.

    `held_out` is text of the same kind: what it shares with the training text is no copy but the language's own.
    """
    texts = [vocabulary.encode(text, param="samples").astype(np.uint16) for _, text in samples]
    if max(map(len, texts), default=0) < LENGTHS[0]:
        return None
    searched = training[:MAX_SEARCHED]
    *copied, held = found(searched, [*texts, held_out[:_HELD_OUT].astype(np.uint16)])
    return Copying(
        searched=len(searched),
        lengths=list(LENGTHS),
        copied=[_share([of_text[length] for of_text in copied]) for length in LENGTHS],
        held_out=[_share([held[length]]) for length in LENGTHS],
        samples=[
            CopiedSample(prompt=prompt, text=text, passages=[_places(vocabulary, text, run) for run in runs])
            for (prompt, text), of_text in zip(samples, copied, strict=True)
            for runs in [_passages(of_text[PASSAGE])]
        ],
    )


def found(training: Ids, texts: Sequence[Ids]) -> list[dict[int, NDArray[np.bool_]]]:
    """Of each text and each of LENGTHS: whether the stretch that begins at each of its symbols is in `training`."""
    own = [_hashes(text) for text in texts]
    known = {length: np.unique(np.concatenate([hashes[length] for hashes in own])) for length in LENGTHS}
    is_found = {length: np.zeros(len(hashes), dtype=np.bool_) for length, hashes in known.items()}
    for piece in _pieces(training):
        hashes = _hashes(piece)
        at = _may_be(hashes[LENGTHS[0]], known[LENGTHS[0]])
        for length in LENGTHS:  # what does not match so far matches no further
            at = at[at < len(hashes[length])]
            here = hashes[length][at]
            place = np.searchsorted(known[length], here)
            matches = known[length][np.minimum(place, len(known[length]) - 1)] == here if len(known[length]) else []
            at, place = at[matches], place[matches]
            is_found[length][place] = True
            if not len(at):
                break
    return [
        {length: is_found[length][np.searchsorted(known[length], hashes[length])] for length in LENGTHS}
        for hashes in own
    ]


def _pieces(training: Ids) -> Iterator[Ids]:
    """Overlapping by one stretch, so that none is cut."""
    for begin in range(0, len(training), _PIECE):
        yield training[begin : begin + _PIECE + LENGTHS[-1] - 1]


def _hashes(ids: Ids) -> dict[int, Hashes]:
    """For each of LENGTHS the hash of every stretch: its symbols as digits to an odd base, modulo 2^64."""
    of = {1: ids.astype(np.uint64)}
    for length, first in ((2, 1), (4, 2), (8, 4), (12, 8), (16, 8), (24, 16)):
        rest = length - first
        number = max(0, len(ids) - length + 1)
        power = np.uint64(pow(int(_BASE), rest, 1 << 64))
        of[length] = of[first][:number] * power + of[rest][first : first + number]
    return {length: of[length] for length in LENGTHS}


def _may_be(hashes: Hashes, known: Hashes) -> NDArray[np.int64]:
    """Where the first 16 bits of a hash are those of a known one: few places, found without a search for each."""
    table = np.zeros(1 << 16, dtype=np.bool_)
    table[known >> np.uint64(48)] = True
    return np.flatnonzero(table[hashes >> np.uint64(48)])


def _share(found_by_text: list[NDArray[np.bool_]]) -> float | None:
    number = sum(map(len, found_by_text))
    return float(f"{sum(int(found.sum()) for found in found_by_text) / number:.4g}") if number else None


def _passages(is_found: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end of what the found stretches cover, one behind the other."""
    runs: list[tuple[int, int]] = []
    for begin in np.flatnonzero(is_found).tolist():
        first = runs.pop()[0] if runs and begin <= runs[-1][1] else begin
        runs.append((first, begin + PASSAGE))
    return runs


def _places(vocabulary: Vocabulary, text: str, run: tuple[int, int]) -> tuple[int, int]:
    """Characters of the text, where the symbols are bytes."""
    if vocabulary.kind == "characters":
        return run
    raw = text.encode()
    begin, end = (len(raw[:place].decode(errors="ignore")) for place in run)
    return begin, end
