"""`tag`: one tag for each symbol of a sequence (aligned many-to-many). Shapes: B batch, T time, K tags."""

import numpy as np
from torch.nn.functional import cross_entropy

from rnncore.batches import IGNORED, Batch
from rnncore.encoding import Encoding
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import JobSpec, ModelSpec
from rnncore.state import State
from rnncore.tasks import Evaluation, Sample, StepLoss
from rnncore.tasks.examples import ExampleData, ExampleTask

_SAMPLES = 4


class Tag(ExampleTask):
    """A Task; see there."""

    def __init__(self, spec: JobSpec, data: ExampleData) -> None:
        super().__init__(data, spec)

    def loss(self, network: SequenceNetwork, batch: Batch, state: State) -> StepLoss:
        """Mean cross-entropy in nats per tag."""
        del state
        scores_BTK, _ = network.each(batch.inputs, batch.lengths_B)
        loss = cross_entropy(scores_BTK.flatten(0, 1).float(), batch.targets.flatten(), ignore_index=IGNORED)
        return StepLoss(loss, batch.part, self.share(batch), batch.num_targets, batch.num_symbols, None)

    def evaluate(self, network: SequenceNetwork) -> Evaluation:
        loss, correct, wholly, count = 0.0, 0, 0, 0
        for batch in self.validation_batches(network):
            scores_BTK = network.each(batch.inputs, batch.lengths_B)[0].float()
            flat = cross_entropy(
                scores_BTK.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            loss += flat.item()
            right_BT = scores_BTK.argmax(dim=2) == batch.targets
            correct += int(right_BT.sum())
            wholly += int((right_BT | (batch.targets == IGNORED)).all(dim=1).sum())
            count += batch.num_targets
        accuracies = {"accuracy": correct / count, "sequence_accuracy": wholly / len(self.validation)}
        return Evaluation(loss / count, accuracies)

    def samples(self, network: SequenceNetwork, seed: int) -> list[Sample]:
        """The first validation sequences and the tags they get."""
        del seed
        inputs, tags = self.encoding.tokens_read, self.encoding.tokens_written
        batch = self.validation.batch(np.arange(min(_SAMPLES, len(self.validation))))
        chosen = network.each(batch.inputs, batch.lengths_B)[0].argmax(dim=2).tolist()
        return [
            Sample(" ".join(inputs.decode(ids[:length])), " ".join(tags.decode(row[:length])))
            for ids, length, row in zip(batch.inputs.tolist(), batch.lengths_B.tolist(), chosen, strict=True)
        ]


def tag_network(model: ModelSpec, encoding: Encoding) -> SequenceNetwork:
    """Reads tokens, scores tags."""
    return SequenceNetwork(model, num_outputs=encoding.tokens_written.size, num_symbols=encoding.tokens_read.size)
