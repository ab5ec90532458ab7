"""A text as B contiguous parallel streams, cut into windows of T symbols for truncated back-propagation through time.

Row b of window i+1 continues row b of window i. Windows are numbered over all epochs, so one number says where
training stands, and any window can be made without those before it. Shapes: B batch, T time.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from rnncore.text import Ids


class Window(NamedTuple):
    """Inputs and targets (the inputs one symbol later), int64; `starts` where the streams begin again."""

    inputs_BT: Tensor
    targets_BT: Tensor
    starts: bool


class Streams(IterableDataset[Window]):
    """Endless windows from window `first` on. One epoch is one pass over every stream."""

    def __init__(self, ids: Ids, *, batch_size: int, tbptt_steps: int, first: int = 0) -> None:
        self._length = (len(ids) - 1) // batch_size
        self._steps = tbptt_steps
        self._first = first
        self._inputs = ids[: batch_size * self._length].reshape(batch_size, self._length)
        self._targets = ids[1 : batch_size * self._length + 1].reshape(batch_size, self._length)
        self.windows_per_epoch = math.ceil(self._length / tbptt_steps)

    def __iter__(self) -> Iterator[Window]:
        number = self._first
        while True:
            yield self.window(number)
            number += 1

    def window(self, number: int) -> Window:
        """Window `number`, counted from 0 over all epochs. The last one of an epoch may be shorter."""
        within = number % self.windows_per_epoch
        here = slice(within * self._steps, (within + 1) * self._steps)
        return Window(_tensor(self._inputs[:, here]), _tensor(self._targets[:, here]), starts=within == 0)


def _tensor(ids: Ids) -> Tensor:
    return torch.from_numpy(ids.astype("int64"))
