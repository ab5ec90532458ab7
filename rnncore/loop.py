"""What happens around the optimizer steps: budget, learning rate, validation, checkpoints, exact resume.

It decides when; a Learner computes, `evaluation` scores, `checkpoint` writes. Lightning calls it back. Of several ranks
each has one, and they decide alike: what only one knows (its clock, its observer) they tell one another first.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor

from rnncore.checkpoint import Snapshot, network_weights, restore_network
from rnncore.errors import NonFiniteLoss, Suspended
from rnncore.learner import Learner
from rnncore.manifest import Manifest, Progress
from rnncore.module import RecurrentModule
from rnncore.ranks import ALONE, Agreement, Ranks
from rnncore.resume import restore_training, seed_rank, training_tensors
from rnncore.spec import JobSpec
from rnncore.tasks import Evaluation, Sample, Task

_REPORT_STEPS = 10
_REPORT_SECONDS = 1.0
_AGREE_SECONDS = 0.1


class Identity(NamedTuple):
    """Whose run this is and on what; copied into every manifest."""

    job: str
    epoch: int
    precision: str
    environment: dict[str, str | int]


class Replay(NamedTuple):
    """How a run that is to be repeated went: its steps, and the share of the budget used before each.

    `ratios` is empty where the budget was none of seconds, for then each step says it itself.
    """

    num_steps: int
    ratios: list[float]


class Point(NamedTuple):
    """One row of the history: where training stands, and the mean loss since the row before.

    `passes` counts readings of the training part, `ratio` is the share of the budget used; `validation_loss` is None
    and `metrics` empty where nothing was validated.
    `clipped_steps` of the steps since the row before had a gradient longer than `gradient_clip_norm`.
    """

    step: int
    characters: int
    passes: float
    train_loss: float
    gradient_norm: float
    clipped_steps: int
    learning_rate: float
    characters_per_second: float
    training_seconds: float
    ratio: float
    eta_seconds: float
    validation_loss: float | None
    metrics: dict[str, float]


class Observer(Protocol):
    """Watches a training run. Each method but `wants_suspension` may raise Stopped, which ends the run there.

    `wants_suspension` is asked after every step; if so, the run makes a checkpoint there and raises Suspended.

    Of several ranks the observer of each is asked before and after steps, and what one answers or raises holds for all,
    within a tenth of a second or a step: the others then raise Suspended, or Stopped. All else is told to rank 0 alone.
    """

    def before_step(self) -> None: ...
    def wants_suspension(self) -> bool: ...
    def warn(self, text: str) -> None: ...
    def after_point(self, point: Point) -> None: ...
    def after_checkpoint(self, snapshot: Snapshot, samples: list[Sample], *, is_best: bool) -> None: ...


class TrainingLoop(pl.Callback):
    """Runs a JobSpec's limits, cadence and resume around Lightning's automatic optimisation."""

    def __init__(
        self,
        spec: JobSpec,
        task: Task,
        observer: Observer,
        identity: Identity,
        *,
        resume: Snapshot | None = None,
        replay: Replay | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._spec = spec
        self._train = spec.train
        self._task = task
        self._observer = observer
        self._identity = identity
        self._resume = resume
        self._replay = replay
        self._ranks = ranks
        self._agreement = Agreement(ranks)
        self.progress = resume.manifest.progress if resume else Progress()
        self._agreed_step = self._agree_at = self.progress.step
        self._seconds = 0.0  # of the steps since
        self._schedule: list[float] = resume.training["schedule.progress"].tolist() if resume else []
        self._began_at = 0.0
        self._since_point = self._next_point()
        self._evaluation: Evaluation | None = None
        self._evaluated_at: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether a limit is reached already, as after a resume from the last step of all."""
        return self._ratio() >= 1 or self._has_lost_patience()

    def warn(self, text: str) -> None:
        """Passes it on to whoever watches."""
        self._on_first_rank(lambda: self._observer.warn(text))

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        """Lightning's hook before each optimizer step."""
        del trainer, batch
        assert isinstance(module, RecurrentModule)
        if index == 0:
            self.begin(module)
        self.before_step(module)
        self._began_at = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Lightning's hook after each optimizer step."""
        del outputs, batch, index
        assert isinstance(module, RecurrentModule)
        if module.device.type == "cuda" and self.is_point_due:
            torch.cuda.synchronize()  # what the GPU has yet to do is training time too
        trainer.should_stop = self.after_step(module, time.perf_counter() - self._began_at)

    @property
    def is_point_due(self) -> bool:
        """Whether the step that is being taken will be reported whatever else happens."""
        return self._since_point.is_due(self.progress.step + 1)

    def begin(self, learner: Learner) -> None:
        """Directly before the first step: building loaders and networks draws from the same generators."""
        seed_rank(self._ranks, self._train.seed, self.progress.step)
        if self._resume:
            restore_training(learner, self._resume.training, self._ranks)

    def before_step(self, learner: Learner) -> None:
        """Asks the observer and sets the learning rate."""
        self._agreement.attempt(self._observer.before_step)
        ratio = self._ratio()
        if self._train.max_seconds is not None:
            self._schedule.append(ratio)
        learner.set_learning_rate(self.progress.step, ratio)

    def after_step(self, learner: Learner, seconds: float) -> bool:
        """Counts a step that took so long, and does what is due behind it. Returns whether it was the last."""
        before = self.progress
        self.progress = before.model_copy(
            update={
                "step": before.step + 1,
                "window": before.window + 1,
                "characters": before.characters + learner.num_symbols,
            }
        )
        self._since_point.add(learner, seconds)
        self._seconds += seconds
        return self._is_time_to_agree() and self._agree(learner)

    def _agree(self, learner: Learner) -> bool:
        """Whether this step was the last of all, once all that is due behind it has been done."""
        step = self.progress.step
        seconds, is_due, is_to_suspend = self._agreement.reach(
            self._seconds, self._since_point.is_due(step), self._observer.wants_suspension()
        )
        training_seconds = self.progress.training_seconds + seconds
        self.progress = self.progress.model_copy(update={"training_seconds": training_seconds})
        self._agree_at = step + max(1, int((step - self._agreed_step) * _AGREE_SECONDS / max(seconds, 1e-9)))
        self._agreed_step, self._seconds = step, 0.0
        is_last = self._ratio() >= 1
        validates = is_last or step % self._train.validate_every_steps == 0
        if validates:
            self._validate(learner)
            is_last |= self._has_lost_patience()
        is_best = validates and self.progress.best_step == step
        is_suspended = not is_last and bool(is_to_suspend)
        if validates or is_suspended or is_due:
            self._report(learner)
        if is_last or is_best or is_suspended or step % self._train.checkpoint_every_steps == 0:
            self._checkpoint(learner)
        if is_last or is_suspended:
            self._agreement.reach()  # on what the observer has raised since
        if is_suspended:
            raise Suspended(f"suspended at step {step}")
        return is_last

    def _on_first_rank(self, deed: Callable[[], None]) -> None:
        if self._ranks.rank == 0:
            self._agreement.attempt(deed)

    def _is_time_to_agree(self) -> bool:
        """Several ranks do so where something is due, and about every tenth of a second; it costs them milliseconds."""
        train, step = self._train, self.progress.step
        return (
            self._ranks.size == 1
            or step <= _REPORT_STEPS
            or any(step % n == 0 for n in (_REPORT_STEPS, train.validate_every_steps, train.checkpoint_every_steps))
            or step >= self._agree_at
            or self._ratio() >= 1
        )

    def _ratio(self) -> float:
        """Share of the budget used, by whichever limit is nearest."""
        train, now = self._train, self.progress
        if self._replay and self._replay.ratios:
            return 1.0 if now.step >= self._replay.num_steps else self._replay.ratios[now.step]
        shares = [0.0]
        if train.max_steps is not None:
            shares.append(now.step / train.max_steps)
        if train.max_epochs is not None:
            shares.append(now.window / (train.max_epochs * self._task.batches_per_epoch))
        if train.max_seconds is not None:
            shares.append(now.training_seconds / train.max_seconds)
        return min(1.0, max(shares))

    def _has_lost_patience(self) -> bool:
        patience = self._train.early_stop_patience
        return patience is not None and self.progress.validations_without_improvement >= patience

    def _validate(self, learner: Learner) -> None:
        self._on_first_rank(lambda: self._evaluate(learner))
        (loss,) = self._agreement.reach(self._evaluation.loss if self._evaluation else -math.inf)
        _require_finite(loss, "validation loss", self.progress.step)
        best = self.progress.best_validation_loss
        improved = best is None or loss < best
        self.progress = self.progress.model_copy(
            update={
                "best_step": self.progress.step if improved else self.progress.best_step,
                "best_validation_loss": loss if improved else best,
                "validations_without_improvement": 0 if improved else self.progress.validations_without_improvement + 1,
            }
        )

    def _evaluate(self, learner: Learner) -> None:
        self._evaluation, self._evaluated_at = self._task.evaluate(learner.network), self.progress.step

    def _report(self, learner: Learner) -> None:
        loss = self._ranks.sum(self._since_point.mean_loss())
        _require_finite(loss, "training loss", self.progress.step)
        self._on_first_rank(lambda: self._observer.after_point(self._point(learner, loss)))
        self._since_point = self._next_point()

    def _next_point(self) -> "_SincePoint":
        return _SincePoint(self._train.gradient_clip_norm)

    def _point(self, learner: Learner, loss: float) -> Point:
        now, since, evaluation, ratio = self.progress, self._since_point, self._present_evaluation(), self._ratio()
        return Point(
            step=now.step,
            characters=now.characters,
            passes=now.window / self._task.batches_per_epoch,
            train_loss=loss,
            gradient_norm=learner.gradient_norm.item(),
            clipped_steps=since.num_clipped(),
            learning_rate=learner.learning_rate,
            characters_per_second=since.symbols / max(since.seconds, 1e-9),
            training_seconds=now.training_seconds,
            ratio=ratio,
            eta_seconds=now.training_seconds * (1 - ratio) / ratio,
            validation_loss=evaluation.loss if evaluation else None,
            metrics=evaluation.metrics if evaluation else {},
        )

    def _checkpoint(self, learner: Learner) -> None:
        loss = self._ranks.sum(learner.loss.item())
        # A loss may still be finite where the step that followed it was not.
        _require_finite(loss, "training loss", self.progress.step)
        _require_finite(learner.gradient_norm.item(), "gradient norm", self.progress.step)
        training = training_tensors(learner, self._schedule, self._ranks)
        self._on_first_rank(lambda: self._tell_checkpoint(learner, loss, training))

    def _tell_checkpoint(self, learner: Learner, loss: float, training: dict[str, Tensor]) -> None:
        evaluation = self._present_evaluation()
        snapshot = Snapshot(
            Manifest(
                job=self._identity.job,
                epoch=self._identity.epoch,
                task=self._spec.task,
                model=self._spec.model,
                encoding=self._task.encoding,
                precision=self._identity.precision,
                progress=self.progress,
                train_loss=loss,
                validation_loss=evaluation.loss if evaluation else None,
                metrics=evaluation.metrics if evaluation else {},
                parameters_sha256="",
                environment=self._identity.environment,
                files={},
            ),
            {name: tensor.cpu() for name, tensor in network_weights(learner.network).items()},
            training,
        )
        restored = restore_network(snapshot)
        samples = self._task.samples(restored, seed=self.progress.step)
        snapshot = snapshot._replace(inspection=self._task.inspection(restored, samples))
        is_best = evaluation is not None and self.progress.best_step == self.progress.step
        self._observer.after_checkpoint(snapshot, samples, is_best=is_best)

    def _present_evaluation(self) -> Evaluation | None:
        """That of this very step, if it was validated."""
        return self._evaluation if self._evaluated_at == self.progress.step else None


class _SincePoint:
    """Sums since the last reported point; what comes of tensors stays on its device until it is read."""

    def __init__(self, clip_norm: float | None) -> None:
        self._clip_norm = clip_norm
        self._clipped: Tensor | int = 0
        self.symbols = 0
        self.seconds = 0.0
        self._targets = 0
        self._loss_sum: Tensor | float = 0.0
        self._began_at = time.monotonic()

    def add(self, learner: Learner, seconds: float) -> None:
        self._loss_sum = self._loss_sum + learner.loss * learner.num_targets
        if self._clip_norm is not None:
            self._clipped = self._clipped + (learner.gradient_norm > self._clip_norm)
        self._targets += learner.num_targets
        self.symbols += learner.num_symbols
        self.seconds += seconds

    def is_due(self, step: int) -> bool:
        waited = time.monotonic() - self._began_at
        return step <= _REPORT_STEPS or step % _REPORT_STEPS == 0 or waited >= _REPORT_SECONDS

    def num_clipped(self) -> int:
        """Steps whose gradient was clipped."""
        return int(self._clipped)

    def mean_loss(self) -> float:
        """This rank's part of it."""
        return float(self._loss_sum) / self._targets


def _require_finite(loss: float, what: str, step: int) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLoss(
            f"{what} is {loss} at step {step}",
            param="train.learning_rate",
            hint="lower train.learning_rate, lower train.gradient_clip_norm, or set train.precision to fp32",
        )
