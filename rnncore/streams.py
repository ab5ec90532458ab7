"""A text as B contiguous parallel streams, cut into windows for truncated back-propagation through time.

Every `stride` symbols make one window: these are new, their loss is the window's; before them it holds as many read
already as make up `steps`, for the gradient to flow through. Windows are numbered over all epochs, so one number says
where training stands, and any window can be made without those before it. Several ranks share the streams out among
them. Shapes: B batch (of one rank), T time, N new symbols.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from rnncore.ranks import ALONE, Ranks
from rnncore.text import Ids


class Window(NamedTuple):
    """Inputs, and for the last N of them the targets, one symbol later; int64.

    The next window begins `advance` symbols behind the first of this one. `starts` where the streams begin again.
    `num_targets` are those of all ranks.
    """

    inputs_BT: Tensor
    targets_BN: Tensor
    advance: int
    starts: bool
    num_targets: int


class Streams(IterableDataset[Window]):
    """Endless windows from window `first` on. One epoch is one pass over every stream."""

    def __init__(
        self,
        ids: Ids,
        *,
        batch_size: int,
        tbptt_steps: int,
        tbptt_stride: int,
        first: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        self._batch_size = batch_size
        self._length = (len(ids) - 1) // batch_size
        self._steps = tbptt_steps
        self._stride = tbptt_stride
        self._first = first
        mine = ranks.rows(batch_size)
        self._inputs = ids[: batch_size * self._length].reshape(batch_size, self._length)[mine]
        self._targets = ids[1 : batch_size * self._length + 1].reshape(batch_size, self._length)[mine]
        self.windows_per_epoch = math.ceil(self._length / self._stride)

    def __iter__(self) -> Iterator[Window]:
        number = self._first
        while True:
            yield self.window(number)
            number += 1

    def window(self, number: int) -> Window:
        """Window `number`, counted from 0 over all epochs. The last one of an epoch may have fewer new symbols."""
        within = number % self.windows_per_epoch
        begin, end = self._begin(within), (within + 1) * self._stride
        targets_BN = _tensor(self._targets[:, within * self._stride : end])
        return Window(
            _tensor(self._inputs[:, begin:end]),
            targets_BN,
            advance=self._begin(within + 1) - begin,
            starts=begin == 0,
            num_targets=self._batch_size * targets_BN.shape[1],
        )

    def _begin(self, within: int) -> int:
        return max(0, (within + 1) * self._stride - self._steps)


def _tensor(ids: Ids) -> Tensor:
    return torch.from_numpy(ids.astype("int64"))
