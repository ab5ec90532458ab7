"""`language_model`: predicts each symbol of a text from all before it (aligned many-to-many).

Trained by truncated back-propagation through time (Williams & Peng 1990): state is carried from window to window and
its history cut off. Shapes: B batch, T time, N new symbols, V vocabulary.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnncore.continuation import continuation
from rnncore.encoding import Encoding
from rnncore.evaluation import evaluate
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
        before = None if batch.starts else detach_state(state)
        logits_BTV, after = _read(network, batch.inputs_BT, before, batch.advance)
        num_new = batch.targets_BN.shape[1]
        loss = cross_entropy(logits_BTV[:, -num_new:].flatten(0, 1).float(), batch.targets_BN.flatten())
        part = batch.targets_BN.numel() / batch.num_targets
        return StepLoss(loss, part, num_new / self._stride, batch.num_targets, batch.num_targets, after)

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

    def inspection(self, network: RecurrentNetwork) -> Inspection | None:
        """Of the first symbols of the validation part; the loss by position over more of it."""
        ids = self._data.validation
        if len(ids) < 2:
            return None
        return inspect(
            network,
            "language_model",
            self.encoding,
            ids[:_INSPECTED].astype(np.int64),
            Options(window=self._steps),
            tbptt_steps=self._steps,
            more=ids[: _WINDOWS * self._steps + 1],
        )

    def _default_prompt(self) -> str:
        vocabulary = self._data.vocabulary
        ids = [int(i) for i in self._data.validation[:_PROMPT_SYMBOLS]]
        return vocabulary.decode([i for i in ids if i != vocabulary.unknown_id])


def _read(network: RecurrentNetwork, ids_BT: Tensor, state: State, advance: int) -> tuple[Tensor, State]:
    """Logits of all of a window, and the state after `advance` symbols, where the next window begins."""
    if advance >= ids_BT.shape[1]:
        return network(ids_BT, state)  # type: ignore[no-any-return]  # torch types no module's result
    if advance == 0:
        return network(ids_BT, state)[0], state
    first_BTV, middle = network(ids_BT[:, :advance], state)
    rest_BTV, _ = network(ids_BT[:, advance:], middle)
    return torch.cat([first_BTV, rest_BTV], dim=1), middle
