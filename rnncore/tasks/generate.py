"""`generate`: a sequence of symbols from one label (one-to-many). Shapes: B batch, T time, K symbols and the end.

The label is the first thing the network reads, each symbol it wrote the next; what it may write ends with one more id.
"""

import torch
from torch.nn.functional import cross_entropy

from rnncore.batches import IGNORED, Batch
from rnncore.encoding import Encoding
from rnncore.metrics import bits_per_character
from rnncore.sampling import Choices, SamplingParameters
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import JobSpec, ModelSpec
from rnncore.state import State
from rnncore.tasks import Evaluation, Sample, StepLoss
from rnncore.tasks.examples import ExampleData, ExampleTask

_SAMPLES = 4
_SAMPLE = SamplingParameters(temperature=0.7, max_tokens=60)


class Generate(ExampleTask):
    """A Task; see there. Inputs are the label's id behind those of the symbols, then the symbols."""

    def __init__(self, spec: JobSpec, data: ExampleData) -> None:
        super().__init__(data, spec)

    def loss(self, network: SequenceNetwork, batch: Batch, state: State) -> StepLoss:
        """Mean cross-entropy in nats per symbol, the end of a sequence being one."""
        del state
        scores_BTK, _ = network.each(batch.inputs, batch.lengths_B)
        loss = cross_entropy(scores_BTK.flatten(0, 1).float(), batch.targets.flatten(), ignore_index=IGNORED)
        return StepLoss(loss, self.share(batch), batch.num_targets, batch.num_symbols, None)

    def evaluate(self, network: SequenceNetwork) -> Evaluation:
        loss, count = 0.0, 0
        for batch in self.validation_batches(network):
            scores_BTK = network.each(batch.inputs, batch.lengths_B)[0].float()
            flat = cross_entropy(
                scores_BTK.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            loss += flat.item()
            count += batch.num_targets
        return Evaluation(loss / count, {"bits_per_character": bits_per_character(loss / count)})

    def samples(self, network: SequenceNetwork, seed: int) -> list[Sample]:
        """One sequence for each of the first labels."""
        labels = self.encoding.tokens_read.tokens[:_SAMPLES]
        return [
            Sample(label, "".join(generate(network, self.encoding, label, _SAMPLE._replace(seed=seed))))
            for label in labels
        ]


def generate_network(model: ModelSpec, encoding: Encoding) -> SequenceNetwork:
    """Reads labels and symbols, scores symbols and the end."""
    num_symbols, num_labels = encoding.tokens_written.size, encoding.tokens_read.size
    return SequenceNetwork(model, num_outputs=num_symbols + 1, num_symbols=num_symbols + num_labels)


@torch.no_grad()
def generate(network: SequenceNetwork, encoding: Encoding, label: str, parameters: SamplingParameters) -> list[str]:
    """The symbols that the network writes for `label`. Raises UnknownSymbol for a label it never saw."""
    symbols = encoding.tokens_written
    chosen = symbols.size + int(encoding.tokens_read.encode([label], param="input")[0])
    choices = Choices(1, symbols.size + 1)
    choices.join(parameters)
    state: State = None
    written: list[int] = []
    one = torch.ones(1, dtype=torch.int64)
    for _ in range(parameters.max_tokens):
        scores_BTK, state = network.each(torch.tensor([[chosen]]), one, state)
        chosen = int(choices.choose(scores_BTK[:, 0].float()))
        if chosen == symbols.size:
            break
        written.append(chosen)
    return symbols.decode(written)
