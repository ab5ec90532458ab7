"""Tokens <-> ids, where one symbol may be a whole word: labels, tags, phonemes. Torch-free; knows no file."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from rnncore.errors import UnknownSymbol


class Tokens(BaseModel):
    """A finite set of tokens; a token's id is its place. With `unknown`, one more id stands for all that are absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[str, ...]
    unknown: bool = False

    @property
    def size(self) -> int:
        """Number of ids, that of `unknown` included."""
        return len(self.tokens) + self.unknown

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, sequence: Sequence[str], *, param: str) -> NDArray[np.int64]:
        """Ids of `sequence`, one a token. Raises UnknownSymbol naming the first token that has none, and where."""
        ids = np.fromiter((self._ids.get(token, -1) for token in sequence), dtype=np.int64, count=len(sequence))
        absent = np.flatnonzero(ids < 0)
        if absent.size and not self.unknown:
            at = int(absent[0])
            raise UnknownSymbol(
                f"{sequence[at]!r} at place {at} is not among the {len(self.tokens)} of the training part; "
                "leave it out, or train with model.unknown=true to map such symbols to one unknown symbol",
                param=param,
            )
        ids[absent] = len(self.tokens)
        return ids

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tokens of `ids`; that of `unknown` is U+FFFD."""
        return [self.name(i) for i in ids]

    def name(self, i: int) -> str:
        """The token of one id; that of `unknown` is U+FFFD."""
        return self.tokens[i] if i < len(self.tokens) else "\N{REPLACEMENT CHARACTER}"
