"""What the training loop asks of a task. One file a task; the loop knows none of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor
from torch.utils.data import IterableDataset

from rnncore.encoding import Encoding
from rnncore.inspection import Inspection
from rnncore.ranks import ALONE, Ranks
from rnncore.state import State


class StepLoss(NamedTuple):
    """Mean loss of this rank's targets that are new in one batch, and the state behind it.

    `part` is their share of the batch's targets, which are those of all ranks, as its symbols are; these are counted
    once an epoch, as they are read anew. `weight` is the share of a full batch that the batch has: a shorter one moves
    the parameters by so much less.
    """

    mean: Tensor
    part: float
    weight: float
    num_targets: int
    num_symbols: int
    state: State


class Evaluation(NamedTuple):
    """Mean loss over the whole validation part, and what else the task is judged by."""

    loss: float
    metrics: dict[str, float]


class Sample(NamedTuple):
    """What the network writes after `prompt`."""

    prompt: str
    text: str


class Task(Protocol):
    """One task on its data, ready to be trained."""

    encoding: Encoding
    batches_per_epoch: int

    def batches(self, first: int, ranks: Ranks = ALONE) -> IterableDataset[Any]:
        """Endless batches from number `first` on, counted over all epochs; each is the same however one gets there.

        They hold the rows of this one of `ranks`.
        """
        ...

    def loss(self, network: Any, batch: Any, state: State) -> StepLoss:
        """Reads one batch, going on from `state` where the one before ended."""
        ...

    def evaluate(self, network: Any) -> Evaluation:
        """Scores the network on the validation part; draws nothing from torch's generators."""
        ...

    def samples(self, network: Any, seed: int) -> list[Sample]:
        """What the network does with a few inputs, for people to read."""
        ...

    def inspection(self, network: Any, samples: Sequence[Sample]) -> Inspection | None:
        """What one sees inside on the beginning of the validation part; None for a network one cannot look into.

        `samples` are what it wrote by now.
        """
        ...
