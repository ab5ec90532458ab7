"""Independent examples in batches, shuffled anew each epoch. A batch is made from its number alone.

Shapes: B batch, T time of the longest example in the batch, C channels.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from rnncore.ranks import ALONE, Ranks

IGNORED = -100  # what torch.nn.functional.cross_entropy passes over


class Batch(NamedTuple):
    """Ids_BT or numbers_BTC, padded with zeros behind `lengths_B`, and their targets.

    Targets are ids_B, ids_BT (padded with IGNORED) or numbers_BK. Symbols read and targets are counted here, where
    they are on the CPU. The counts are always those of the whole batch, of whose targets the share `part` is here.
    """

    inputs: Tensor
    lengths_B: Tensor
    targets: Tensor
    num_rows: int
    num_symbols: int
    num_targets: int
    part: float = 1.0

    def of_rank(self, ranks: Ranks) -> Self:
        """The rows of this one of `ranks`, padded as before, for where truncation cuts is counted from the end."""
        if ranks.size == 1:
            return self
        rows = ranks.rows(self.num_rows)
        part = _num_targets(self.targets[rows]) / self.num_targets
        if rows.start == rows.stop:  # in a last batch of fewer rows than ranks: read one, to no effect
            rows = slice(1)
        return self._replace(
            inputs=self.inputs[rows], lengths_B=self.lengths_B[rows], targets=self.targets[rows], part=part
        )


class Examples(Protocol):
    """Examples that can be asked for by number."""

    def __len__(self) -> int: ...
    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """These examples, in this order."""
        ...


class ShuffledBatches(IterableDataset[Batch]):
    """Endless batches from batch `first` on. Epoch e has the order that (seed, e) gives; its last may be smaller."""

    def __init__(self, examples: Examples, *, batch_size: int, seed: int, first: int = 0, ranks: Ranks = ALONE) -> None:
        self._examples = examples
        self._batch_size = batch_size
        self._seed = seed
        self._first = first
        self._ranks = ranks
        self.batches_per_epoch = math.ceil(len(examples) / batch_size)

    def __iter__(self) -> Iterator[Batch]:
        number = self._first
        order = self._order(number // self.batches_per_epoch)
        while True:
            epoch, within = divmod(number, self.batches_per_epoch)
            if within == 0:
                order = self._order(epoch)
            numbers = order[within * self._batch_size : (within + 1) * self._batch_size]
            yield self._examples.batch(numbers).of_rank(self._ranks)
            number += 1

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self._seed, epoch)).permutation(len(self._examples))


class SequenceExamples:
    """Sequences with one target each (an id, or K numbers), or with a sequence of target ids each."""

    def __init__(
        self, inputs: Sequence[NDArray[np.generic]], targets: NDArray[np.generic] | Sequence[NDArray[np.generic]]
    ) -> None:
        self.inputs = inputs
        self.targets = targets

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        inputs, lengths_B = padded([self.inputs[i] for i in numbers])
        num_symbols = int(lengths_B.sum())
        if isinstance(self.targets, np.ndarray):
            targets = torch.from_numpy(self.targets[numbers])
        else:
            targets, _ = padded([self.targets[i] for i in numbers], fill=IGNORED)
        return Batch(inputs, lengths_B, targets, len(numbers), num_symbols, _num_targets(targets))


class WindowExamples:
    """Windows of `steps` rows of one long series, each with the value of `column` in the row that follows it.

    The first target is row `first`; windows reach back before it.
    """

    def __init__(self, series_NC: NDArray[np.float32], *, steps: int, column: int, first: int, end: int) -> None:
        self._series_NC = series_NC
        self._steps = steps
        self._column = column
        self._first = max(first, steps)
        self._end = end

    def __len__(self) -> int:
        return max(0, self._end - self._first)

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        target_rows = numbers + self._first
        rows = target_rows[:, None] - self._steps + np.arange(self._steps)
        return Batch(
            torch.from_numpy(self._series_NC[rows]),
            torch.full((len(numbers),), self._steps),
            torch.from_numpy(self._series_NC[target_rows, self._column][:, None]),
            num_rows=len(numbers),
            num_symbols=len(numbers) * self._steps,
            num_targets=len(numbers),
        )


def in_order(examples: Examples, batch_size: int) -> Iterator[Batch]:
    """Every example once, as it comes."""
    for at in range(0, len(examples), batch_size):
        yield examples.batch(np.arange(at, min(at + batch_size, len(examples))))


def _num_targets(targets: Tensor) -> int:
    """The K numbers of a row are one target, each id of a sequence is."""
    return len(targets) if targets.is_floating_point() else int((targets != IGNORED).sum())


def padded(sequences: Sequence[NDArray[np.generic]], *, fill: int = 0) -> tuple[Tensor, Tensor]:
    """The sequences (T, or T x C) side by side, `fill` behind shorter ones, and their lengths_B. Ids become int64."""
    lengths = np.array([len(sequence) for sequence in sequences])
    dtype = np.float32 if sequences[0].dtype.kind == "f" else np.int64
    block = np.full((len(sequences), lengths.max(), *sequences[0].shape[1:]), fill, dtype=dtype)
    for row, sequence in zip(block, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(block), torch.from_numpy(lengths)
