"""`translate`: one sequence from another, of another length (encoder-decoder, many-to-many).

Teacher forcing in training. At validation whole batches are translated greedily, in use a beam searches. Shapes: B
batch, S source time, T target time, K target symbols and the end, W hypotheses.
"""

from collections.abc import Iterator, Sequence
from heapq import nlargest
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnncore.batches import IGNORED, Batch
from rnncore.encoding import Encoding
from rnncore.sampling import log_probabilities
from rnncore.sequence_network import EncoderDecoder
from rnncore.spec import JobSpec, ModelSpec
from rnncore.state import State, flat_rows
from rnncore.stepper import Stepper
from rnncore.tasks import Evaluation, Sample, StepLoss
from rnncore.tasks.examples import ExampleData, ExampleTask, evaluating

_SAMPLES = 4
_TRANSLATED_AT_VALIDATION = 512
# A translation that has not ended after so many symbols a source symbol never will.
_LONGEST_RATIO = 3
_LONGEST_MORE = 10
_ROWS_AT_ONCE = 256  # of beam search; bounds its memory, and more at once are no faster


class Translation(NamedTuple):
    """Target symbols and the logarithm of their probability, divided by their number with the end."""

    symbols: list[str]
    score: float


class _Hypothesis(NamedTuple):
    """Target ids so far, and the logarithm of their probability, with that of the end once there is one."""

    total: float
    ids: list[int]

    @property
    def mean(self) -> float:
        return self.total / (len(self.ids) + 1)


class Translate(ExampleTask):
    """A Task; see there."""

    def __init__(self, spec: JobSpec, data: ExampleData) -> None:
        super().__init__(data, spec)

    def loss(self, network: EncoderDecoder, batch: Batch, state: State) -> StepLoss:
        """Mean cross-entropy in nats per target symbol, the end of a target being one."""
        del state
        loss = cross_entropy(self._scores(network, batch), batch.targets.flatten(), ignore_index=IGNORED)
        num_symbols = batch.num_symbols + batch.num_targets
        return StepLoss(loss, batch.part, self.share(batch), batch.num_targets, num_symbols, None)

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
def beam_search(
    network: EncoderDecoder, stepper: Stepper, encoding: Encoding, sources: Sequence[NDArray[np.int64]], width: int
) -> list[list[Translation]]:
    """The `width` best translations of each source (ids) that a beam so wide finds, by mean log-probability.

    The best is the first (Graves 2012). They do not depend on the other sources. `stepper` is that of the network.
    """
    at_once, outputs = max(1, _ROWS_AT_ONCE // width), encoding.tokens_written
    return [
        [Translation(outputs.decode(one.ids), one.mean) for one in of_source]
        for first in range(0, len(sources), at_once)
        for of_source in _searched(network, stepper, sources[first : first + at_once], width)
    ]


def _searched(
    network: EncoderDecoder, stepper: Stepper, sources: Sequence[NDArray[np.int64]], width: int
) -> list[list[_Hypothesis]]:
    """All hypotheses of all sources advance together; those of one source lie side by side."""
    batch, end = stepper.batch(len(sources) * width), stepper.vocabulary_size - 1
    searches = []
    for ids_S in sources:
        length_B = torch.tensor([len(ids_S)])
        # Each source alone: in company of another length the encoder need not give the same bits.
        (state_S,) = flat_rows(network.encode(torch.from_numpy(ids_S)[None], length_B))
        batch.join(state_S)
        searches.append(_Search(width, _longest(length_B), end))
    while going_on := [search for search in searches if search.hypotheses]:
        hypotheses = [one for search in going_on for one in search.hypotheses]
        log_p_WK = log_probabilities(batch.step(torch.tensor([one.ids[-1] if one.ids else end for one in hypotheses])))
        totals_WK = log_p_WK + torch.tensor([[one.total] for one in hypotheses])
        # The best of a source are among the best of its hypotheses, and these are found for all sources at once.
        best = totals_WK.topk(min(width, end + 1), dim=1)
        likeliest = [
            list(zip(totals, symbols, strict=True))
            for totals, symbols in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        kept, first = [], 0
        for search in going_on:
            behind = first + len(search.hypotheses)
            kept += [first + parent for parent in search.grow(likeliest[first:behind])]
            first = behind
        batch.select(kept)
    return [search.best() for search in searches]


class _Search:
    """The beam of one source; over when it has no hypotheses."""

    def __init__(self, width: int, longest: int, end: int) -> None:
        self.hypotheses = [_Hypothesis(0.0, [])]
        self._width = width
        self._longest = longest
        self._end = end
        self._ended: list[_Hypothesis] = []

    def grow(self, likeliest: Sequence[Sequence[tuple[float, int]]]) -> list[int]:
        """Each hypothesis by one symbol, of which `likeliest` has the best with the totals that they would make.

        Returns from which of the hypotheses before it each one came that goes on.
        """
        candidates = [(total, parent, symbol) for parent, some in enumerate(likeliest) for total, symbol in some]
        grown, parents = [], []
        for total, parent, symbol in nlargest(self._width, candidates, key=itemgetter(0)):
            ids = self.hypotheses[parent].ids
            if symbol == self._end:
                self._ended.append(_Hypothesis(total, ids))
            else:
                grown.append(_Hypothesis(total, [*ids, symbol]))
                parents.append(parent)
        if not grown or len(self._ended) >= self._width or len(grown[0].ids) == self._longest:
            self._ended = self._ended or grown
            grown, parents = [], []
        self.hypotheses = grown
        return parents

    def best(self) -> list[_Hypothesis]:
        """What has ended, the likeliest first; what was cut off at the longest only if nothing has."""
        return sorted(self._ended, key=lambda one: -one.mean)[: self._width]


def _shifted(targets_BT: Tensor, end: int) -> Tensor:
    """What the decoder has read when it should write each target: the begin, then the targets before."""
    before_BT = targets_BT.roll(1, dims=1)
    before_BT[:, 0] = end
    return before_BT.masked_fill(before_BT == IGNORED, 0)


def _longest(lengths_B: Tensor) -> int:
    return int(lengths_B.max()) * _LONGEST_RATIO + _LONGEST_MORE
