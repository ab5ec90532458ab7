"""`classify`: one label for a whole sequence (many-to-one). Shapes: B batch, K labels."""

import numpy as np
from torch.nn.functional import cross_entropy

from rnncore.batches import Batch
from rnncore.encoding import Encoding
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import JobSpec, ModelSpec
from rnncore.state import State
from rnncore.tasks import Evaluation, Sample, StepLoss
from rnncore.tasks.examples import ExampleData, ExampleTask

_SAMPLES = 4


class Classify(ExampleTask):
    """A Task; see there."""

    def __init__(self, spec: JobSpec, data: ExampleData) -> None:
        super().__init__(data, spec)

    def loss(self, network: SequenceNetwork, batch: Batch, state: State) -> StepLoss:
        """Mean cross-entropy in nats per sequence."""
        del state
        scores_BK = network.last(batch.inputs, batch.lengths_B, tbptt_steps=self.train.tbptt_steps)
        loss = cross_entropy(scores_BK.float(), batch.targets)
        return StepLoss(loss, batch.part, self.share(batch), batch.num_targets, batch.num_symbols, None)

    def evaluate(self, network: SequenceNetwork) -> Evaluation:
        loss, correct = 0.0, 0
        for batch in self.validation_batches(network):
            scores_BK = network.last(batch.inputs, batch.lengths_B).float()
            loss += cross_entropy(scores_BK, batch.targets, reduction="sum").item()
            correct += int((scores_BK.argmax(dim=1) == batch.targets).sum())
        return Evaluation(loss / len(self.validation), {"accuracy": correct / len(self.validation)})

    def samples(self, network: SequenceNetwork, seed: int) -> list[Sample]:
        """The first validation sequences of symbols, with the label they get."""
        del seed
        inputs, labels = self.encoding.inputs, self.encoding.tokens_written
        if inputs is None:
            return []
        batch = self.validation.batch(np.arange(min(_SAMPLES, len(self.validation))))
        chosen = network.last(batch.inputs, batch.lengths_B).argmax(dim=1).tolist()
        return [
            Sample("".join(inputs.decode(ids[:length])), label)
            for ids, length, label in zip(
                batch.inputs.tolist(), batch.lengths_B.tolist(), labels.decode(chosen), strict=True
            )
        ]


def classify_network(model: ModelSpec, encoding: Encoding) -> SequenceNetwork:
    """Reads symbols or numbers, scores labels."""
    return SequenceNetwork(
        model,
        num_outputs=encoding.tokens_written.size,
        num_symbols=encoding.inputs.size if encoding.inputs else None,
        num_channels=encoding.num_channels,
    )
