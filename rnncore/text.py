"""A text file -> ids in memory, in small bites so that a thread beside it is never kept from running. No torch here."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore.corpus import TextPlan
from rnncore.vocabulary import Vocabulary, code_points

# One bite is decoded and looked up with the interpreter's lock held for about two milliseconds.
_BITE_BYTES = 1 << 20

Ids = NDArray[np.uint8] | NDArray[np.uint16]


class TextData(NamedTuple):
    """Ids of the two parts of a text, in reading order."""

    vocabulary: Vocabulary
    training: Ids
    validation: Ids


def load_text(path: Path, plan: TextPlan, validation_path: Path | None = None) -> TextData:
    """Reads what `plan` was made of. Ids take one byte each where the vocabulary allows, else two."""
    num_symbols = plan.num_training + (plan.num_validation if plan.validates_tail else 0)
    ids = _read_ids(path, plan.vocabulary, num_symbols)
    if validation_path is None:
        return TextData(plan.vocabulary, ids[: plan.num_training], ids[plan.num_training :])
    return TextData(plan.vocabulary, ids, _read_ids(validation_path, plan.vocabulary, plan.num_validation))


def _read_ids(path: Path, vocabulary: Vocabulary, num_symbols: int) -> Ids:
    if vocabulary.kind == "bytes":
        return np.memmap(path, dtype=np.uint8, mode="r")
    ids: Ids = np.empty(num_symbols, np.uint8) if vocabulary.size <= 256 else np.empty(num_symbols, np.uint16)
    at = 0
    encoder = vocabulary.encoder()
    for codes in _bites(path):
        ids[at : at + codes.size] = encoder(codes, "dataset", at)
        at += codes.size
    return ids


def _bites(path: Path) -> Iterator[NDArray[np.uint32]]:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    with path.open("rb") as file:
        while raw := file.read(_BITE_BYTES):
            yield code_points(decoder.decode(raw))
