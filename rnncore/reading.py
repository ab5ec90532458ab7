"""Reads one block of texts as sequences, layer by layer. The bits are those of single steps.

A layer's inputs are one product for many symbols; the loop over time is left with the recurrent part. Symbols lie step
by step, those of one step side by side and of the longest text first: texts end, and those before them go on.
Shapes: B rows, T time, N symbols of all rows, P parts of a state, K inputs, H hidden (padded), G gates, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnncore.packing import PackedLayer, PackedNetwork, State
from rnncore.products import Product, blocks

_SYMBOLS_AT_ONCE = 4096  # bounds the memory of a reading; wherever it is cut, the bits are the same


def read_block(
    packed: PackedNetwork, ids: Sequence[NDArray[np.int64]], parts_PBH: Tensor, *, every: bool
) -> list[Tensor]:
    """Takes the first rows of `parts_PBH` to the ends of `ids`, of which none is longer than the one before it.

    If asked, returns logits_TV of each row after each of its symbols.
    """
    pieces: list[list[Tensor]] = [[] for _ in ids]
    steps = max(1, _SYMBOLS_AT_ONCE // len(ids))
    for begin in range(0, len(ids[0]), steps):
        window = _Window(
            [row[begin : begin + steps] for row in ids if len(row) > begin], packed.boundary_id, parts_PBH.device
        )
        x_NH = _read_window(packed, window, parts_PBH)
        if every:
            logits_NV = _multiply(packed.output, packed.bias_V, x_NH, len(window.ids_N), packed.sizes)
            for row, at in enumerate(window.symbols_of_rows()):
                pieces[row].append(logits_NV[at, : packed.vocabulary_size])
    return [torch.cat(of_row) for of_row in pieces] if every else []


class _Window:
    """Symbols as they lie in memory, how many rows have one at each step, and which of those begin a document."""

    def __init__(self, rows: Sequence[NDArray[np.int64]], boundary_id: int | None, device: torch.device) -> None:
        steps = len(rows[0])
        self._is_taken_TB = np.arange(steps)[:, None] < np.array([len(row) for row in rows])
        ids_TB = np.zeros(self._is_taken_TB.shape, dtype=np.int64)
        for row, symbols in enumerate(rows):
            ids_TB[: len(symbols), row] = symbols
        self.ids_N = torch.from_numpy(ids_TB[self._is_taken_TB]).to(device)
        self.num_rows_T: list[int] = self._is_taken_TB.sum(axis=1).tolist()
        begins_TB = (ids_TB == boundary_id) & self._is_taken_TB
        self.begins = {
            int(t): torch.from_numpy(begins_TB[t].nonzero()[0]).to(device) for t in begins_TB.any(axis=1).nonzero()[0]
        }

    def symbols_of_rows(self) -> list[Tensor]:
        """Where the symbols of each row lie among all."""
        at_TB = np.cumsum(self._is_taken_TB).reshape(self._is_taken_TB.shape) - 1
        return [
            torch.from_numpy(at_T[taken_T]).to(self.ids_N.device)
            for at_T, taken_T in zip(at_TB.T, self._is_taken_TB.T, strict=True)
        ]


def _read_window(packed: PackedNetwork, window: _Window, parts_PBH: Tensor) -> Tensor:
    """What the highest layer gives after each symbol, N x H with spare rows behind."""
    num_symbols, spare = len(window.ids_N), packed.sizes[-1]
    x_NH = packed.table_VG.new_zeros(num_symbols + spare, packed.hidden)
    xg_NG = packed.table_VG.new_zeros(num_symbols + spare, packed.table_VG.shape[1])
    torch.index_select(packed.table_VG, 0, window.ids_N, out=xg_NG[:num_symbols])
    for layer, state in zip(packed.layers, packed.states(parts_PBH), strict=True):
        if layer.input:
            xg_NG = _multiply(layer.input, layer.b_ih_G, x_NH, num_symbols, packed.sizes)
        _advance_over(layer, window, xg_NG, state, x_NH, packed.sizes)
    return x_NH


def _advance_over(
    layer: PackedLayer, window: _Window, xg_NG: Tensor, state: State, x_NH: Tensor, sizes: Sequence[int]
) -> None:
    """The steps of one layer. A block may be larger than the rows left: those that ended are kept as they were."""
    kept = [part_BH.clone() for part_BH in state]
    at, before, size = 0, 0, 0
    views, buffers = state, layer.buffers(0)
    for t, num_rows in enumerate(window.num_rows_T):
        if num_rows != before:
            for part_BH, kept_BH in zip(state, kept, strict=True):
                kept_BH[num_rows:before] = part_BH[num_rows:before]
            before, size = num_rows, next(size for size in sizes if size >= num_rows)
            views, buffers = [part_BH[:size] for part_BH in state], layer.buffers(size)
        if t in window.begins:
            for part_BH in state:
                part_BH.index_fill_(0, window.begins[t], 0.0)
        layer.advance(xg_NG[at : at + size], views, buffers)
        x_NH[at : at + num_rows] = views[0][:num_rows]
        at += num_rows
    for part_BH, kept_BH in zip(state, kept, strict=True):
        part_BH[before:] = kept_BH[before:]


def _multiply(product: Product, plus_N: Tensor, x_NK: Tensor, num_rows: int, sizes: Sequence[int]) -> Tensor:
    """The product of the first rows, with as many spare rows behind as there are behind those of `x_NK`."""
    out = x_NK.new_zeros(len(x_NK), len(plus_N))
    for start, size, _ in blocks(num_rows, sizes):
        product(x_NK[start : start + size], plus_N, out[start : start + size])
    return out
