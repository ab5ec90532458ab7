"""A trained network read forward: many texts at once, each with a state of its own, without what training needs.

The bits of a row's state and logits depend on its own symbols alone: not on the rows beside it, on its place, nor on
how its symbols were cut into readings and single steps. Knows nothing of how a symbol is chosen.

Shapes: B rows, S flat state (h of each layer, then an LSTM's c of each), P its parts, H hidden (padded), V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnncore.network import Network
from rnncore.packing import PackedNetwork
from rnncore.products import Precision, blocks, padded
from rnncore.reading import read_block

__all__ = ["Batch", "Precision", "Reading", "Stepper"]


class Reading(NamedTuple):
    """Logits after each row's last symbol, the states there, and, if asked, logits_TV after each symbol of each row."""

    logits_BV: Tensor
    states_BS: Tensor
    every: list[Tensor] | None


class Stepper:
    """Packed weights of what writes in one network; holds no conversation.

    On a CPU threads may share it, each with batches of its own; on a GPU it is to be used by one thread at a time.

    `precision` is that of the products of layers that gain by it; states and logits are float32 always. Tensors are on
    the network's device. Weights that change later are not seen, and the number of torch's threads is to stay as it is.
    A symbol `boundary_id` makes a row forget all before it.
    """

    def __init__(self, network: Network, *, precision: Precision = "fp32") -> None:
        with torch.no_grad():
            self._packed = PackedNetwork(network.as_decoder(), precision=precision)
        self._device = self._packed.table_VG.device
        self.state_size = self._packed.num_parts * self._packed.hidden_size
        self.vocabulary_size = self._packed.vocabulary_size
        self.num_bytes = self._packed.num_bytes

    def zero_state(self, num_rows: int) -> Tensor:
        """The states_BS of texts that have not begun."""
        return torch.zeros(num_rows, self.state_size, device=self._device)

    def batch(self, capacity: int) -> "Batch":
        """Room for `capacity` rows that advance together."""
        return Batch(self._packed, capacity)

    @torch.no_grad()
    def read(self, ids: Sequence[NDArray[np.int64]], states_BS: Tensor, *, every: bool = False) -> Reading:
        """Advances row b by the symbols ids[b], at least one; rows may be of different length."""
        packed = self._packed
        longest_first = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        logits_BV = torch.empty(len(ids), self.vocabulary_size, device=self._device)
        after_BS = torch.empty(len(ids), self.state_size, device=self._device)
        each = [logits_BV] * len(ids)
        for start, size, used in blocks(len(ids), packed.sizes):
            rows = longest_first[start : start + used]
            parts_PBH = packed.parts(states_BS[rows], size)
            pieces = read_block(packed, [ids[row] for row in rows], parts_PBH, every=every)
            after_BS[rows] = packed.flat(parts_PBH)[:used]
            of_block_BV = packed.bias_V.new_zeros(size, len(packed.bias_V))
            packed.output(parts_PBH[len(packed.layers) - 1], packed.bias_V, of_block_BV)
            logits_BV[rows] = of_block_BV[:used, : self.vocabulary_size]
            for row, logits_TV in zip(rows, pieces, strict=every):
                each[row] = logits_TV
        return Reading(logits_BV, after_BS, each if every else None)


class _Plan(NamedTuple):
    """What a step of so many rows does, and where. Views are made once: to make one costs as much as to multiply."""

    ids_B: Tensor
    advances: list[Callable[[], None]]
    logits_BV: Tensor


class Batch:
    """Up to `capacity` rows that advance together, each with a state of its own; rows 0..num_rows-1 are taken."""

    def __init__(self, packed: PackedNetwork, capacity: int) -> None:
        self.capacity = capacity
        self.num_rows = 0
        self._packed = packed
        room = padded(capacity, packed.sizes)
        self._parts_PBH = packed.table_VG.new_zeros(packed.num_parts, room, packed.hidden)
        self._ids_B = torch.zeros(room, dtype=torch.int64, device=self._parts_PBH.device)
        self._logits_BV = packed.bias_V.new_zeros(room, len(packed.bias_V))
        self._plans: dict[int, _Plan] = {}
        self._advances: dict[tuple[int, int], Callable[[], None]] = {}

    def join(self, state_S: Tensor) -> int:
        """The number of the new row, which goes on from `state_S`."""
        if self.num_rows == self.capacity:
            raise ValueError(f"batch is full at capacity={self.capacity}; wait until a row leaves")
        self._parts_PBH[:, self.num_rows] = self._packed.parts(state_S[None], 1)[:, 0]
        self.num_rows += 1
        return self.num_rows - 1

    def leave(self, row: int) -> None:
        """Gives the row up; the last row moves into its place."""
        self.num_rows -= 1
        self._parts_PBH[:, row] = self._parts_PBH[:, self.num_rows]

    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows, in this order; one may come more than once."""
        if len(rows) > self.capacity:
            raise ValueError(f"{len(rows)} rows are over capacity={self.capacity}; select fewer")
        chosen = torch.tensor(rows, dtype=torch.int64, device=self._parts_PBH.device)
        self._parts_PBH[:, : len(rows)] = self._parts_PBH.index_select(1, chosen)
        self.num_rows = len(rows)

    def state(self, row: int) -> Tensor:
        """A copy of the row's state_S."""
        return self._packed.flat(self._parts_PBH[:, row : row + 1])[0]

    def step(self, ids_B: Tensor) -> Tensor:
        """Each row reads one symbol: logits_BV, valid until the next step. The states advance in place."""
        if self.num_rows not in self._plans:
            self._plans[self.num_rows] = self._plan(self.num_rows)
        plan = self._plans[self.num_rows]
        plan.ids_B.copy_(ids_B)
        for advance in plan.advances:
            advance()
        return plan.logits_BV

    def _plan(self, num_rows: int) -> "_Plan":
        found = [(start, size) for start, size, _ in blocks(num_rows, self._packed.sizes)]
        for start, size in found:
            if (start, size) not in self._advances:
                self._advances[start, size] = self._prepared(start, size)
        logits_BV = self._logits_BV[:num_rows, : self._packed.vocabulary_size]
        return _Plan(self._ids_B[:num_rows], [self._advances[block] for block in found], logits_BV)

    def _prepared(self, start: int, size: int) -> Callable[[], None]:
        """What advances one block of rows; on a GPU a graph, recorded once and replayed."""
        packed, boundary_id, on_cpu = self._packed, self._packed.boundary_id, self._ids_B.device.type == "cpu"
        ids_B, logits_BV = (tensor[start : start + size] for tensor in (self._ids_B, self._logits_BV))
        parts_PBH = self._parts_PBH[:, start : start + size]
        layers = list(zip(packed.layers, packed.states(parts_PBH), strict=True))
        buffers = packed.layers[0].buffers(size)
        xg_BG = packed.table_VG.new_zeros(size, packed.table_VG.shape[1])

        def advance() -> None:
            if boundary_id is not None:
                begins_B = ids_B == boundary_id
                if not on_cpu or begins_B.any():  # a graph cannot ask
                    parts_PBH.masked_fill_(begins_B[:, None], 0.0)
            torch.index_select(packed.table_VG, 0, ids_B, out=xg_BG)
            below_BH = parts_PBH[0]
            for layer, state in layers:
                if layer.input:
                    layer.input(below_BH, layer.b_ih_G, xg_BG)
                layer.advance(xg_BG, state, buffers)
                below_BH = state[0]
            packed.output(below_BH, packed.bias_V, logits_BV)

        return advance if on_cpu else _recorded(advance, parts_PBH)


def _recorded(advance: Callable[[], None], parts_PBH: Tensor) -> Callable[[], None]:
    """`advance` as a CUDA graph. Recording runs nothing, but what comes before it does: the states are put back."""
    before_PBH = parts_PBH.clone()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch types it not
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        advance()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        advance()
    parts_PBH.copy_(before_PBH)
    return graph.replay
