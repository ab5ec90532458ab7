"""States behind the beginnings of prompts, so that what many requests share is read once. Knows no model and no row."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BLOCK_SYMBOLS = 256


class PrefixCache:
    """(parameters, symbols read) -> the state there; the least recently used are dropped beyond a budget of bytes."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._states: OrderedDict[bytes, Tensor] = OrderedDict()
        self.num_bytes = 0
        self.num_hits = self.num_misses = 0

    def longest(self, parameters: str, ids: NDArray[np.int64]) -> tuple[int, Tensor | None]:
        """How many of the first symbols of `ids` are known, and the state behind them; (0, None) for none."""
        for length, key in reversed(list(_keys(parameters, ids))):
            if (state_S := self._states.get(key)) is not None:
                self._states.move_to_end(key)
                self.num_hits += 1
                return length, state_S
        self.num_misses += 1
        return 0, None

    def put(self, parameters: str, ids: NDArray[np.int64], state_S: Tensor) -> None:
        """Keeps the state behind all of `ids`, which `longest` finds again where a prompt has them up to here."""
        key = list(_keys(parameters, ids))[-1][1]
        if key in self._states:
            return
        self._states[key] = state_S
        self.num_bytes += state_S.nbytes
        while self.num_bytes > self._budget and self._states:
            _, dropped = self._states.popitem(last=False)
            self.num_bytes -= dropped.nbytes


def _keys(parameters: str, ids: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
    """The lengths at which a state may be kept: every whole block, and the end; with the digest of what was read."""
    digest = hashlib.blake2b(parameters.encode(), digest_size=20)
    ids = np.ascontiguousarray(ids)
    for begin in range(0, len(ids), BLOCK_SYMBOLS):
        block = ids[begin : begin + BLOCK_SYMBOLS]
        digest.update(block.tobytes())
        yield begin + len(block), digest.copy().digest()
