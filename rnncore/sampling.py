"""From logits to the next symbols. Knows no text, no request and no process.

Shapes: B rows, R those of them that truncate, V vocabulary, D draws.
"""

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Floats = NDArray[np.floating[Any]]
_Ids = NDArray[np.int64]

_GREEDY_BELOW = 1e-6  # logits divided by less leave float32
_DRAWS_AHEAD = 64


class SamplingParameters(NamedTuple):
    """How to choose. `temperature` 0 takes the likeliest symbol; `top_k` None and `top_p` 1.0 leave all in play.

    `logit_bias` pairs ids with what is added to their logits. Of a symbol written c times so far (the prompt does not
    count), frequency_penalty * c + presence_penalty * (c > 0) is taken off.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    max_tokens: int = 16
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


class Choices:
    """How each row of a Batch chooses; rows join and leave as there. Works on the CPU, wherever the logits come from.

    What a row chooses depends on its own logits, parameters and draws alone: every operation is elementwise, exact, or
    sums along its row from left to right. Each row draws from a Philox generator of its own (Salmon 2011), keyed by its
    seed; without a seed, by another key each time. The order is: bias and penalties, temperature, the `top_k`
    likeliest, the nucleus of mass `top_p` (Holtzman 2020): the smallest set of likeliest symbols that reaches it.
    """

    def __init__(self, capacity: int, vocabulary_size: int, *, banned: Sequence[int] = ()) -> None:
        self.capacity = capacity
        self.num_rows = 0
        self._banned = list(banned)
        self._rows = np.arange(capacity)
        self._temperature_B1 = np.ones((capacity, 1), np.float32)
        self._is_greedy_B = np.zeros(capacity, bool)
        self._top_k_B = np.full(capacity, vocabulary_size)
        self._top_p_B = np.full(capacity, 1.0)
        self._presence_B1 = np.zeros((capacity, 1), np.float32)
        self._frequency_B1 = np.zeros((capacity, 1), np.float32)
        self._bias_BV = np.zeros((capacity, vocabulary_size), np.float32)
        self._counts_BV = np.zeros((capacity, vocabulary_size), np.float32)
        self._draws_BD = np.zeros((capacity, _DRAWS_AHEAD))
        self._num_used_B = np.full(capacity, _DRAWS_AHEAD)
        self._generators = [np.random.Generator(np.random.Philox(key=0))] * capacity
        self._of_rows = [
            *(self._temperature_B1, self._is_greedy_B, self._top_k_B, self._top_p_B, self._presence_B1),
            *(self._frequency_B1, self._bias_BV, self._counts_BV, self._draws_BD, self._num_used_B),
        ]
        self._note_needs()

    def join(self, parameters: SamplingParameters, written: Sequence[int] = ()) -> int:
        """The number of the new row. One that wrote `written` before goes on as if it had never left."""
        if self.num_rows == self.capacity:
            raise ValueError(f"choices are full at capacity={self.capacity}; wait until a row leaves")
        row, vocabulary_size = self.num_rows, self._bias_BV.shape[1]
        self._is_greedy_B[row] = parameters.temperature < _GREEDY_BELOW
        self._temperature_B1[row] = 1.0 if self._is_greedy_B[row] else parameters.temperature
        self._top_k_B[row] = min(parameters.top_k or vocabulary_size, vocabulary_size)
        self._top_p_B[row] = parameters.top_p
        self._presence_B1[row] = parameters.presence_penalty
        self._frequency_B1[row] = parameters.frequency_penalty
        self._bias_BV[row] = 0.0
        for symbol, bias in parameters.logit_bias:
            self._bias_BV[row, symbol] += bias
        self._bias_BV[row, self._banned] = -np.inf
        self._counts_BV[row] = np.bincount(np.array(written, dtype=np.int64), minlength=vocabulary_size)
        key = secrets.randbits(64) if parameters.seed is None else parameters.seed % 2**64
        whole, used = divmod(len(written), _DRAWS_AHEAD)
        # The generator counts in steps of four numbers.
        self._generators[row] = np.random.Generator(np.random.Philox(key=key).advance(whole * _DRAWS_AHEAD // 4))
        self._draw_ahead(row)
        self._num_used_B[row] = used
        self.num_rows += 1
        self._note_needs()
        return row

    def leave(self, row: int) -> None:
        """Gives the row up; the last row moves into its place."""
        self.num_rows -= 1
        for of_rows in self._of_rows:
            of_rows[row] = of_rows[self.num_rows]
        self._generators[row] = self._generators[self.num_rows]
        self._note_needs()

    def choose(self, logits_BV: Tensor) -> Tensor:
        """One symbol for each row (int64). It is counted for the row's penalties, and the row's draws go on."""
        num_rows = self.num_rows
        scores_BV = logits_BV.numpy(force=True) + self._bias_BV[:num_rows]
        if self._has_penalties:
            counts_BV = self._counts_BV[:num_rows]
            scores_BV -= self._frequency_B1[:num_rows] * counts_BV + self._presence_B1[:num_rows] * (counts_BV > 0)
        chosen_B = scores_BV.argmax(axis=1)
        if not self._all_greedy:
            drawn_B = self._draw(scores_BV)
            chosen_B = np.where(self._is_greedy_B[:num_rows], chosen_B, drawn_B)
        if self._has_penalties:
            counts_BV[self._rows[:num_rows], chosen_B] += 1
        return torch.from_numpy(chosen_B)

    def _draw(self, scores_BV: _Floats) -> _Ids:
        """By inverse cumulative distribution, from one uniform number a row."""
        scaled_BV = (scores_BV - scores_BV.max(axis=1, keepdims=True)) / self._temperature_B1[: self.num_rows]
        weights_BV = np.exp(scaled_BV)
        if len(self._truncated):
            weights_BV[self._truncated] *= self._kept(scaled_BV[self._truncated])
        mass_BV = weights_BV.cumsum(axis=1, dtype=np.float64)
        drawn_B: _Ids = (mass_BV <= self._uniform()[:, None] * mass_BV[:, -1:]).sum(axis=1)
        return drawn_B

    def _kept(self, scaled_RV: _Floats) -> NDArray[np.bool_]:
        """What `top_k` and `top_p` leave of the rows that have them."""
        order_RV = np.argsort(-scaled_RV, axis=1, kind="stable")
        ordered_RV = np.take_along_axis(scaled_RV, order_RV, axis=1)
        last_R1 = self._top_k_B[self._truncated, None] - 1
        kept_RV = ordered_RV >= np.take_along_axis(ordered_RV, last_R1, axis=1)
        weights_RV = np.exp(ordered_RV) * kept_RV
        mass_RV = weights_RV.cumsum(axis=1, dtype=np.float64)
        top_p_R1 = self._top_p_B[self._truncated, None]
        kept_RV &= (mass_RV - weights_RV < top_p_R1 * mass_RV[:, -1:]) | (top_p_R1 >= 1)
        kept_RV[:, 0] = True  # a mass of 0 is reached by no symbol at all
        back_RV = np.empty_like(kept_RV)
        np.put_along_axis(back_RV, order_RV, kept_RV, axis=1)
        return back_RV

    def _uniform(self) -> _Floats:
        """The next number of each row, in [0, 1)."""
        used_B = self._num_used_B[: self.num_rows]
        for row in (used_B == _DRAWS_AHEAD).nonzero()[0]:
            self._draw_ahead(int(row))
        drawn_B: _Floats = self._draws_BD[self._rows[: self.num_rows], used_B]
        used_B += 1
        return drawn_B

    def _draw_ahead(self, row: int) -> None:
        # Times a sum a number must stay below the sum, or a symbol of no mass is drawn.
        self._draws_BD[row] = self._generators[row].random(_DRAWS_AHEAD).clip(max=1 - 2**-52)
        self._num_used_B[row] = 0

    def _note_needs(self) -> None:
        taken = slice(self.num_rows)
        self._all_greedy = bool(self._is_greedy_B[taken].all())
        self._has_penalties = bool(self._presence_B1[taken].any() or self._frequency_B1[taken].any())
        is_truncated_B = (self._top_k_B[taken] < self._bias_BV.shape[1]) | (self._top_p_B[taken] < 1)
        self._truncated = (is_truncated_B & ~self._is_greedy_B[taken]).nonzero()[0]


def log_probabilities(logits_BV: Tensor) -> Tensor:
    """Of the network's own distribution, before bias, penalties, temperature and truncation, as OpenAI reports them.

    Symbols that are never chosen keep their share: the mean over a text is what evaluation calls its loss.
    """
    scores_BV = logits_BV.numpy(force=True).astype(np.float64)
    scores_BV -= scores_BV.max(axis=1, keepdims=True)
    total_B1 = np.exp(scores_BV).cumsum(axis=1)[:, -1:]
    return torch.from_numpy((scores_BV - np.log(total_B1)).astype(np.float32))
