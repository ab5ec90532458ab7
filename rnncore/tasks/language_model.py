"""`language_model`: predicts each symbol of a text from all before it (aligned many-to-many).

Trained by truncated back-propagation through time (Williams & Peng 1990): state is carried from window to window and
its history cut off. Shapes: B batch, T time, N new symbols, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnncore.continuation import continuation
from rnncore.copying import copying
from rnncore.encoding import Encoding
from rnncore.evaluation import evaluate
from rnncore.fused_network import FusedNetwork
from rnncore.inspection import Inspection
from rnncore.metrics import bits_per_character
from rnncore.network import RecurrentNetwork
from rnncore.probes import Options, inspect
from rnncore.ranks import ALONE, Ranks
from rnncore.sampling import SamplingParameters
from rnncore.spec import JobSpec
from rnncore.state import State, detach_state
from rnncore.stepper import Stepper
from rnncore.streams import Streams, Window
from rnncore.tasks import Evaluation, Sample, StepLoss
from rnncore.text import TextData

_SAMPLE = SamplingParameters(temperature=0.7, max_tokens=160)
_PROMPT_SYMBOLS = 32
_INSPECTED = 256
_WINDOWS = 64


class LanguageModel:
    """A Task; see there."""

    def __init__(self, spec: JobSpec, data: TextData) -> None:
        self.encoding = Encoding(vocabulary=data.vocabulary)
        self._spec = spec
        self._data = data
        steps, stride = spec.train.tbptt_steps, spec.train.tbptt_stride
        assert steps is not None, "a JobSpec of this task has it filled in"
        assert stride is not None, "a JobSpec of this task has it filled in"
        self._steps, self._stride = steps, stride
        self.batches_per_epoch = self.batches(0).windows_per_epoch

    def batches(self, first: int, ranks: Ranks = ALONE) -> Streams:
        train = self._spec.train
        return Streams(
            self._data.training,
            batch_size=train.batch_size,
            tbptt_steps=self._steps,
            tbptt_stride=self._stride,
            first=first,
            ranks=ranks,
        )

    def loss(self, network: RecurrentNetwork, batch: Window, state: State) -> StepLoss:
        """Mean over the new symbols; the gradient flows back to the first symbol of the window and no further."""
        logits_BTV, after = _read(network, batch, state)
        num_new = batch.targets_BN.shape[1]
        loss = cross_entropy(logits_BTV[:, -num_new:].flatten(0, 1).float(), batch.targets_BN.flatten())
        return self._step_loss(loss, batch, after)

    def losses(self, networks: FusedNetwork, batch: Window, state: State) -> StepLoss:
        """The same for J networks at once; `mean` is mean_J."""
        logits_JTBV, after = _read(networks, batch, state)
        targets_NB = batch.targets_BN.t()
        targets = targets_NB.flatten().repeat(len(logits_JTBV))
        each = cross_entropy(logits_JTBV[:, -len(targets_NB) :].flatten(0, 2).float(), targets, reduction="none")
        return self._step_loss(each.view(len(logits_JTBV), -1).mean(1), batch, after)

    def evaluate(self, network: RecurrentNetwork) -> Evaluation:
        loss = evaluate(network, self._data.validation)
        return Evaluation(loss, {"bits_per_character": bits_per_character(loss)})

    def samples(self, network: RecurrentNetwork, seed: int) -> list[Sample]:
        stepper, vocabulary = Stepper(network), self._data.vocabulary
        prompts = self._spec.train.sample_prompts or (self._default_prompt(),)
        parameters = _SAMPLE._replace(seed=seed)
        return [
            Sample(prompt, continuation(stepper, vocabulary, ids, parameters))
            for prompt, ids in ((prompt, vocabulary.encode(prompt).tolist()) for prompt in prompts)
        ]

    def inspection(self, network: RecurrentNetwork, samples: Sequence[Sample]) -> Inspection | None:
        """Of the first symbols of the validation part; the loss by position over more of it."""
        ids = self._data.validation
        if len(ids) < 2:
            return None
        seen = inspect(
            network,
            "language_model",
            self.encoding,
            ids[:_INSPECTED].astype(np.int64),
            Options(window=self._steps),
            tbptt_steps=self._steps,
            more=ids[: _WINDOWS * self._steps + 1],
        )
        return seen.model_copy(update={"copying": copying(self._data.training, ids, self._data.vocabulary, samples)})

    def _step_loss(self, mean: Tensor, batch: Window, after: State) -> StepLoss:
        num_here, num_new = batch.targets_BN.numel(), batch.targets_BN.shape[1]
        return StepLoss(
            mean, num_here / batch.num_targets, num_new / self._stride, batch.num_targets, batch.num_targets, after
        )

    def _default_prompt(self) -> str:
        vocabulary = self._data.vocabulary
        ids = [int(i) for i in self._data.validation[:_PROMPT_SYMBOLS]]
        return vocabulary.decode([i for i in ids if i != vocabulary.unknown_id])


def _read(network: RecurrentNetwork | FusedNetwork, batch: Window, state: State) -> tuple[Tensor, State]:
    """Logits of all of a window, time in dimension 1, and the state where the next window begins."""
    ids_BT, advance = batch.inputs_BT, batch.advance
    state = None if batch.starts else detach_state(state)
    if advance >= ids_BT.shape[1]:
        return network(ids_BT, state)
    if advance == 0:
        return network(ids_BT, state)[0], state
    first_BTV, middle = network(ids_BT[:, :advance], state)
    rest_BTV, _ = network(ids_BT[:, advance:], middle)
    return torch.cat([first_BTV, rest_BTV], dim=1), middle
