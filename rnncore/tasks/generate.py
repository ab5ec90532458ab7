"""`generate`: a sequence of symbols from one label (one-to-many). Shapes: B batch, T time, K symbols and the end.

The label is the first thing the network reads, each symbol it wrote the next; what it may write ends with one more id.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from rnncore.batches import IGNORED, Batch
from rnncore.encoding import Encoding
from rnncore.metrics import bits_per_character
from rnncore.sampling import Choices, SamplingParameters
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import JobSpec, ModelSpec
from rnncore.state import State
from rnncore.stepper import Stepper
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
        return StepLoss(loss, batch.part, self.share(batch), batch.num_targets, batch.num_symbols, None)

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
        written = generate(Stepper(network), self.encoding, labels, _SAMPLE._replace(seed=seed))
        return [Sample(label, "".join(symbols)) for label, symbols in zip(labels, written, strict=True)]


def generate_network(model: ModelSpec, encoding: Encoding) -> SequenceNetwork:
    """Reads labels and symbols, scores symbols and the end."""
    num_symbols, num_labels = encoding.tokens_written.size, encoding.tokens_read.size
    return SequenceNetwork(model, num_outputs=num_symbols + 1, num_symbols=num_symbols + num_labels)


@torch.no_grad()
def generate(
    stepper: Stepper, encoding: Encoding, labels: Sequence[str], parameters: SamplingParameters
) -> list[list[str]]:
    """The symbols that are written for each of `labels`; for a seed they do not depend on the other labels.

    Raises UnknownSymbol for a label that the network never saw.
    """
    symbols = encoding.tokens_written
    ids_B = symbols.size + torch.from_numpy(encoding.tokens_read.encode(labels, param="input"))
    batch, choices = stepper.batch(len(labels)), Choices(len(labels), stepper.vocabulary_size)
    for state_S in stepper.zero_state(len(labels)):
        batch.join(state_S)
        choices.join(parameters)
    written: list[list[int]] = [[] for _ in labels]
    of_rows = list(written)
    for _ in range(parameters.max_tokens):
        ids = choices.choose(batch.step(ids_B)).tolist()
        for row in reversed(range(len(ids))):
            if ids[row] == symbols.size:
                batch.leave(row)
                choices.leave(row)
                ids[row], of_rows[row] = ids[-1], of_rows[-1]
                del ids[-1], of_rows[-1]
            else:
                of_rows[row].append(ids[row])
        if not ids:
            break
        ids_B = torch.tensor(ids)
    return [symbols.decode(row) for row in written]
