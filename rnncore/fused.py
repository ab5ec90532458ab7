"""fit_fused(): trains several jobs that differ in seed, rates, dropout or first weights side by side as one program.

Each step reads one window for all of them; loss, gradient, clipping, optimizer, random numbers and all that happens
around the steps are each trial's own, so that every result is that of its separate run but for rounding. Knows no
queue. Shapes: J trials, B batch, T time, L layers, H hidden.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVarTuple

import torch
from torch import Tensor

from rnncore.checkpoint import Snapshot
from rnncore.environment import environment, in_turn
from rnncore.errors import InvalidInput
from rnncore.fit import Job, prepared, resolved_precision
from rnncore.fusable import fusable
from rnncore.fused_network import FusedNetwork
from rnncore.learner import adamw, set_rate
from rnncore.loop import Identity, Observer, TrainingLoop
from rnncore.state import State, detach_state, join_networks, split_networks
from rnncore.streams import Window
from rnncore.tasks.language_model import LanguageModel
from rnncore.text import TextData

Arguments = TypeVarTuple("Arguments")


class Trial(NamedTuple):
    """One of the jobs that are trained together; `resume` and `initial` as in `fit`.

    `ended` hears as soon as it is over what its `fit` would have raised, None for nothing.
    """

    job: Job
    observer: Observer
    resume: Snapshot | None = None
    initial: Snapshot | None = None
    ended: Callable[[Exception | None], None] | None = None


def fit_fused(trials: Sequence[Trial], data: TextData) -> list[Exception | None]:
    """Trains all of `trials` until each one's limit. Returns what each one's `fit` would have raised, None for nothing.

    What ends one of them, its observer's Stopped included, leaves the others as they are. Those that resume from
    different steps wait until those behind have caught up. All of them read `data`. Raises InvalidInput where `fusable`
    names a reason.
    """
    why = fusable([trial.job.spec for trial in trials])
    if why is None and resolved_precision(trials[0].job.spec.train.precision)[0] != "fp32":
        why = "train.precision is auto, which is bf16-mixed on this hardware; only fp32 can"
    if why:
        raise InvalidInput(f"these jobs cannot be trained together: {why}")
    torch.set_flush_denormal(True)  # denormal numbers are about 20 times slower on CPUs
    runs: Sequence[_Run] = [_Run(trial, data, len(trials)) for trial in trials]
    group: _Group | None = None
    alive = runs
    while alive := _going_on(alive):
        first = min(run.window for run in alive)
        together = [run for run in alive if run.window == first and run.attempt(run.before_step)]
        if not together:
            continue
        if group is None or group.runs != together:
            group = _Group(together)
        seconds = group.step(first)
        for run in together:
            run.attempt(run.after_step, seconds)
    return [run.error for run in runs]


def _going_on(runs: Sequence["_Run"]) -> list["_Run"]:
    """Those that are not over; of the others it is told."""
    for run in runs:
        if run.is_over:
            run.tell_end()
    return [run for run in runs if not run.is_over]


class _Run:
    """One trial on its way. A Learner; see there."""

    def __init__(self, trial: Trial, data: TextData, num_trials: int) -> None:
        self.is_over = False
        self.error: Exception | None = None
        self._ended = trial.ended
        self.state: State = None
        self.learning_rate = 0.0
        self.num_targets = self.num_symbols = 0
        self.loss = self.gradient_norm = torch.tensor(math.nan)
        self.attempt(self._start, trial, data, num_trials)

    def _start(self, trial: Trial, data: TextData, num_trials: int) -> None:
        job = trial.job
        self.train = job.spec.train
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        task, network = prepared(job.spec, data, trial.resume or trial.initial)
        assert isinstance(task, LanguageModel)
        # It goes on from where its network left it, as in a separate run.
        self.generators = {"rng.torch": torch.Generator()}
        self.generators["rng.torch"].set_state(torch.get_rng_state())
        if self.device.type == "cuda":
            self.generators["rng.cuda"] = torch.Generator(self.device).manual_seed(self.train.seed)
        self.task, self.network = task, network.to(self.device).train()
        self.optimizer = adamw(self.network, self.train)
        earlier = trial.resume.manifest.environment if trial.resume else {}
        identity = Identity(job.id, job.epoch, "fp32", in_turn(earlier, environment(fused=num_trials)))
        self._loop = TrainingLoop(job.spec, task, trial.observer, identity, resume=trial.resume)
        self.is_over = self._loop.is_over
        if not self.is_over:
            self._loop.begin(self)

    @property
    def window(self) -> int:
        """The next one to read."""
        return self._loop.progress.window

    @property
    def is_point_due(self) -> bool:
        return self._loop.is_point_due

    def attempt(self, deed: Callable[[*Arguments], None], *arguments: *Arguments) -> bool:
        """Whether the trial goes on after `deed`; an exception ends it and it alone."""
        try:
            deed(*arguments)
        except Exception as error:  # whatever it is, it is handed to the caller as this trial's
            self.is_over, self.error = True, error
        return not self.is_over

    def tell_end(self) -> None:
        if self._ended:
            self._ended(self.error)

    def before_step(self) -> None:
        self._loop.before_step(self)

    def after_step(self, seconds: float) -> None:
        self.is_over = self._loop.after_step(self, seconds)

    def set_learning_rate(self, step: int, progress: float) -> None:
        self.learning_rate = set_rate(self.optimizer, self.train, step, progress)

    def fill_mask(self, mask: Tensor) -> None:
        """With what dropout would multiply such a tensor with in this trial's separate run on a CPU."""
        keep = 1 - self.network.model.dropout
        if keep == 1:  # nothing is drawn then
            mask.fill_(1)
        else:
            generator = self.generators["rng.cuda" if mask.is_cuda else "rng.torch"]
            mask.bernoulli_(keep, generator=generator).div_(keep)


class _Group:
    """Trials at the same step, for as long as they are the same ones."""

    def __init__(self, runs: list[_Run]) -> None:
        self.runs = runs
        self._network = FusedNetwork([run.network for run in runs], self._dropped)
        self._own = [dict(run.network.named_parameters()) for run in runs]
        self._has_dropout = any(run.network.model.dropout for run in runs)
        self._state = join_networks([run.state for run in runs])
        limits = [math.inf if run.train.gradient_clip_norm is None else run.train.gradient_clip_norm for run in runs]
        device = runs[0].device
        self._limits_J = torch.tensor(limits, device=device)
        self._windows = runs[0].task.batches(0)

    def step(self, number: int) -> float:
        """Takes one optimizer step of each trial on window `number`; returns the seconds that it took."""
        began_at = time.perf_counter()
        window = self._windows.window(number).to(self._limits_J.device)
        loss_J, norm_J = self._learn(window)
        states = split_networks(self._state, len(self.runs))
        for run, loss, norm, state in zip(self.runs, loss_J, norm_J, states, strict=True):
            run.loss, run.gradient_norm, run.state = loss, norm, state
            run.num_targets = run.num_symbols = window.num_targets
            run.optimizer.step()
        if self._limits_J.is_cuda and any(run.is_point_due for run in self.runs):
            torch.cuda.synchronize()  # what the GPU has yet to do is training time too
        return time.perf_counter() - began_at

    def _learn(self, window: Window) -> tuple[list[Tensor], list[Tensor]]:
        """Losses and gradient norms of the trials; their parameters have their clipped gradients then."""
        step = self.runs[0].task.losses(self._network, window, self._state)
        self._state = detach_state(step.state)
        parameters = self._network.parameters
        gradients = torch.autograd.grad((step.mean * step.weight).sum(), list(parameters.values()))
        norms_J = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
        norm_J = torch.linalg.vector_norm(norms_J, dim=0)
        scale_J = (self._limits_J / (norm_J + 1e-6)).clamp(max=1.0)  # as clip_grad_norm_ does
        for name, gradient in zip(parameters, gradients, strict=True):
            clipped = gradient * scale_J.view(-1, *[1] * (gradient.ndim - 1))
            for own, row in zip(self._own, clipped.contiguous().unbind(), strict=True):  # as fused AdamW reads them
                own[name].grad = row
        return list(step.mean.detach().unbind()), list(norm_J.unbind())

    def _dropped(self, x: Tensor) -> Tensor:
        if not self._has_dropout:
            return x
        masks = torch.empty_like(x)
        for run, mask in zip(self.runs, masks.unbind(), strict=True):
            run.fill_mask(mask)
        return x * masks
