"""What the tasks on independent examples share: their batches, and how a network is scored on the validation part."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from rnncore.batches import Batch, Examples, ShuffledBatches, in_order
from rnncore.encoding import Encoding
from rnncore.inspection import Inspection
from rnncore.probes import MAX_STEPS, Options, inspect
from rnncore.ranks import ALONE, Ranks
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import JobSpec
from rnncore.tasks import Sample

_AT_ONCE = 256


class ExampleData(NamedTuple):
    """Both parts of a data set, encoded."""

    encoding: Encoding
    training: Examples
    validation: Examples


class ExampleTask:
    """The half of a `Task` that is the same for all of them; see there."""

    def __init__(self, data: ExampleData, spec: JobSpec) -> None:
        self.encoding = data.encoding
        self.validation = data.validation
        self.name = spec.task
        self.train = spec.train
        self._training = data.training
        self.batches_per_epoch = self.batches(0).batches_per_epoch

    def batches(self, first: int, ranks: Ranks = ALONE) -> ShuffledBatches:
        train = self.train
        return ShuffledBatches(self._training, batch_size=train.batch_size, seed=train.seed, first=first, ranks=ranks)

    def inspection(self, network: Any, samples: Sequence[Sample]) -> Inspection | None:
        """Of the first validation example."""
        del samples  # too short to be compared with what was trained on
        if not isinstance(network, SequenceNetwork) or network.model.bidirectional:
            return None
        inputs = next(in_order(self.validation, 1)).inputs[0].numpy()[:MAX_STEPS]
        if len(inputs) < 2:  # one-to-one: there is no state to look back at
            return None
        return inspect(network, self.name, self.encoding, inputs, Options(), tbptt_steps=self.train.tbptt_steps)

    def share(self, batch: Batch) -> float:
        """How full the batch is."""
        return batch.num_rows / self.train.batch_size

    def validation_batches(self, network: nn.Module) -> Iterator[Batch]:
        """Every validation example once, on the network's device; no gradient, no dropout."""
        device = next(network.parameters()).device
        with evaluating(network):
            for batch in in_order(self.validation, _AT_ONCE):
                inputs, lengths_B, targets = (part.to(device) for part in batch[:3])
                yield batch._replace(inputs=inputs, lengths_B=lengths_B, targets=targets)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Neither dropout nor gradients inside; the mode from before afterwards."""
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)
