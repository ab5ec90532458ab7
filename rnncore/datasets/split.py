"""Which independent rows train and which validate: one shuffle for ever, so that every job sees the same split."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


_64_BITS = (1 << 64) - 1
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def row_hashes(num_rows: int) -> Hashes:
    """A 64-bit hash of each row's index (splitmix64, Steele 2014); distinct, for it is a bijection."""
    x = np.arange(1, num_rows + 1, dtype=np.uint64) * np.uint64(_STEP)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_SECOND)
    return x ^ (x >> np.uint64(31))


def row_hash(index: int) -> int:
    """That of one row."""
    x = (index + 1) * _STEP & _64_BITS
    x = (x ^ (x >> 30)) * _FIRST & _64_BITS
    x = (x ^ (x >> 27)) * _SECOND & _64_BITS
    return x ^ (x >> 31)


def split_order(num_rows: int) -> NDArray[np.int64]:
    """Row indices in the order of their hashes; the first ones train, the last ones validate."""
    return np.argsort(row_hashes(num_rows))
