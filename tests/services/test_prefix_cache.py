"""States behind the beginnings of prompts: found again by whoever has the same beginning, within a budget."""

import numpy as np
import torch
from numpy.typing import NDArray

from services.sampling.prefixes import BLOCK_SYMBOLS, PrefixCache

FLOATS = 10
BYTES = 4 * FLOATS


def prompt(length: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 50, length)


def state(value: float) -> torch.Tensor:
    return torch.full((FLOATS,), float(value))


def test_whole_prompt_is_found() -> None:
    cache = PrefixCache(1000)
    cache.put("p", prompt(300), state(3))
    length, found = cache.longest("p", prompt(300))
    assert (length, found.tolist()) == (300, [3.0] * FLOATS)  # type: ignore[union-attr]


def test_longest_block_that_two_prompts_share_is_found() -> None:
    cache = PrefixCache(1000)
    ids = prompt(3 * BLOCK_SYMBOLS)
    for blocks in (1, 2):
        cache.put("p", ids[: blocks * BLOCK_SYMBOLS], state(blocks))
    other = np.concatenate([ids[: 2 * BLOCK_SYMBOLS + 9], prompt(30, seed=1)])
    length, found = cache.longest("p", other)
    assert (length, found.tolist()) == (2 * BLOCK_SYMBOLS, [2.0] * FLOATS)  # type: ignore[union-attr]


def test_other_parameters_and_other_symbols_are_another_matter() -> None:
    cache = PrefixCache(1000)
    cache.put("p", prompt(300), state(3))
    changed = prompt(300)
    changed[0] += 1
    assert cache.longest("q", prompt(300)) == (0, None)
    assert cache.longest("p", changed) == (0, None)
    assert (cache.num_hits, cache.num_misses) == (0, 2)


def test_states_that_were_used_least_recently_leave_first() -> None:
    cache = PrefixCache(2 * BYTES)
    for seed in (1, 2):
        cache.put("p", prompt(5, seed), state(seed))
    cache.longest("p", prompt(5, 1))
    cache.put("p", prompt(5, 3), state(3))
    assert [cache.longest("p", prompt(5, seed))[0] for seed in (1, 2, 3)] == [5, 0, 5]
    assert cache.num_bytes == 2 * BYTES
