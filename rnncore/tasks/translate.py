"""`translate`: one sequence from another, of another length (encoder-decoder, many-to-many).

Teacher forcing in training; in use greedy or beam search. Shapes: B batch, S source time, T target time, K target
symbols and the end, W beam width.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnncore.batches import IGNORED, Batch
from rnncore.encoding import Encoding
from rnncore.sequence_network import EncoderDecoder
from rnncore.spec import JobSpec, ModelSpec
from rnncore.state import State, select_rows
from rnncore.tasks import Evaluation, Sample, StepLoss
from rnncore.tasks.examples import ExampleData, ExampleTask, evaluating

_SAMPLES = 4
_TRANSLATED_AT_VALIDATION = 512
# A translation that has not ended after so many symbols a source symbol never will.
_LONGEST_RATIO = 3
_LONGEST_MORE = 10


class Translation(NamedTuple):
    """Target symbols and the logarithm of their probability, divided by their number with the end."""

    symbols: list[str]
    score: float


class Translate(ExampleTask):
    """A Task; see there."""

    def __init__(self, spec: JobSpec, data: ExampleData) -> None:
        super().__init__(data, spec)

    def loss(self, network: EncoderDecoder, batch: Batch, state: State) -> StepLoss:
        """Mean cross-entropy in nats per target symbol, the end of a target being one."""
        del state
        loss = cross_entropy(self._scores(network, batch), batch.targets.flatten(), ignore_index=IGNORED)
        return StepLoss(loss, self.share(batch), batch.num_targets, batch.num_symbols + batch.num_targets, None)

    def evaluate(self, network: EncoderDecoder) -> Evaluation:
        """Loss over all pairs; share of the first ones that a greedy translation gets wrong anywhere."""
        loss, count = 0.0, 0
        for batch in self.validation_batches(network):
            scores = self._scores(network, batch)
            loss += cross_entropy(scores, batch.targets.flatten(), ignore_index=IGNORED, reduction="sum").item()
            count += batch.num_targets
        wrong, num_translated = 0, 0
        for targets, ids in self._translated(network, _TRANSLATED_AT_VALIDATION):
            wrong += sum(list(target) != found for target, found in zip(targets, ids, strict=True))
            num_translated += len(ids)
        return Evaluation(loss / count, {"sequence_error_rate": wrong / num_translated})

    def samples(self, network: EncoderDecoder, seed: int) -> list[Sample]:
        """The first validation sources and what becomes of them."""
        del seed
        sources, outputs = self.encoding.tokens_read, self.encoding.tokens_written
        batch = self.validation.batch(np.arange(min(_SAMPLES, len(self.validation))))
        with evaluating(network):
            found = greedy(network, batch.inputs, batch.lengths_B)
        return [
            Sample(" ".join(sources.decode(ids[:length])), " ".join(outputs.decode(row)))
            for ids, length, row in zip(batch.inputs.tolist(), batch.lengths_B.tolist(), found, strict=True)
        ]

    def _scores(self, network: EncoderDecoder, batch: Batch) -> Tensor:
        state = network.encode(batch.inputs, batch.lengths_B)
        scores_BTK, _ = network.decode(_shifted(batch.targets, self._end), state)
        return scores_BTK.flatten(0, 1).float()

    def _translated(self, network: EncoderDecoder, most: int) -> Iterator[tuple[list[list[int]], list[list[int]]]]:
        for batch in self.validation_batches(network):
            targets = [[i for i in row if i not in (IGNORED, self._end)] for row in batch.targets.tolist()]
            yield targets[:most], greedy(network, batch.inputs[:most], batch.lengths_B[:most])
            most -= len(targets)
            if most <= 0:
                return

    @property
    def _end(self) -> int:
        return self.encoding.tokens_written.size


def translate_network(model: ModelSpec, encoding: Encoding) -> EncoderDecoder:
    """Reads source tokens, scores target tokens and the end."""
    return EncoderDecoder(model, num_sources=encoding.tokens_read.size, num_targets=encoding.tokens_written.size)


def greedy(network: EncoderDecoder, ids_BS: Tensor, lengths_B: Tensor) -> list[list[int]]:
    """Target ids of each source: always the likeliest next symbol, up to the end."""
    end = network.output.out_features - 1
    state = network.encode(ids_BS, lengths_B)
    chosen_B = torch.full_like(lengths_B, end)
    over_B = torch.zeros_like(lengths_B, dtype=torch.bool)
    columns = []
    for _ in range(_longest(lengths_B)):
        scores_BTK, state = network.decode(chosen_B[:, None], state)
        chosen_B = scores_BTK[:, 0].argmax(dim=1)
        over_B |= chosen_B == end
        columns.append(torch.where(over_B, IGNORED, chosen_B))
        if over_B.all():
            break
    return [[i for i in row if i != IGNORED] for row in torch.stack(columns, dim=1).tolist()]


@torch.no_grad()
def beam_search(network: EncoderDecoder, encoding: Encoding, source: Sequence[str], width: int) -> list[Translation]:
    """The `width` best translations that a beam so wide finds, best mean log-probability first (Graves 2012)."""
    outputs, end = encoding.tokens_written, encoding.tokens_written.size
    ids_BS = torch.from_numpy(encoding.tokens_read.encode(source, param="input"))[None]
    state = network.encode(ids_BS, torch.tensor([len(source)]))
    hypotheses: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[Translation] = []
    for _ in range(_longest(torch.tensor([len(source)]))):
        last_W = torch.tensor([ids[-1] if ids else end for _, ids in hypotheses])
        scores_WTK, state = network.decode(last_W[:, None], state)
        totals_WK = scores_WTK[:, 0].float().log_softmax(dim=1) + torch.tensor([[total] for total, _ in hypotheses])
        best = totals_WK.flatten().topk(min(width, totals_WK.numel()))
        grown, parents = [], []
        for total, flat in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            parent, symbol = divmod(flat, end + 1)
            ids = hypotheses[parent][1]
            if symbol == end:
                ended.append(Translation(outputs.decode(ids), total / (len(ids) + 1)))
            else:
                grown.append((total, [*ids, symbol]))
                parents.append(parent)
        if not grown or len(ended) >= width:
            break
        hypotheses, state = grown, select_rows(state, torch.tensor(parents))
    ended += [Translation(outputs.decode(ids), total / (len(ids) + 1)) for total, ids in hypotheses if not ended]
    return sorted(ended, key=lambda found: -found.score)[:width]


def _shifted(targets_BT: Tensor, end: int) -> Tensor:
    """What the decoder has read when it should write each target: the begin, then the targets before."""
    before_BT = targets_BT.roll(1, dims=1)
    before_BT[:, 0] = end
    return before_BT.masked_fill(before_BT == IGNORED, 0)


def _longest(lengths_B: Tensor) -> int:
    return int(lengths_B.max()) * _LONGEST_RATIO + _LONGEST_MORE
