"""The LightningModule: one optimizer step a batch, state carried between batches as the task says.

Optimisation stays automatic, so that clipping, autocast and DDP are Lightning's. Knows no budget, checkpoint or queue.
"""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from rnncore.learner import adamw, set_rate
from rnncore.network import Network
from rnncore.ranks import ALONE, Ranks
from rnncore.spec import TrainSpec
from rnncore.state import State
from rnncore.tasks import Task


class RecurrentModule(pl.LightningModule):
    """Any task's network under AdamW. A Learner; see there."""

    def __init__(self, network: Network, task: Task, train: TrainSpec, ranks: Ranks = ALONE) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.train_spec = train
        self.ranks = ranks
        self.state: State = None
        self.learning_rate = 0.0
        self.num_targets = self.num_symbols = 0
        # Left on the device and read only when reported: reading waits for a GPU.
        self.loss = torch.tensor(math.nan)  # this rank's part of the batch's mean
        self.gradient_norm = torch.tensor(math.nan)

    def training_step(self, batch: Any, batch_index: int) -> Tensor:  # noqa: ARG002  Lightning's signature
        """Mean loss of one batch, scaled by its share of a full one; of several ranks their average is."""
        step = self.task.loss(self.network, batch, self.state)
        self.state, self.loss = step.state, step.mean.detach() * step.part
        self.num_targets, self.num_symbols = step.num_targets, step.num_symbols
        return step.mean * (step.weight * step.part * self.ranks.size)

    def on_train_start(self) -> None:
        """Lets DDP see a backward pass: in the order in which gradients come there it sums them from the next one on.

        So the first step sums as all others do, and a resumed run as the one before it, to the bit.
        """
        if self.ranks.size > 1:
            strategy = self.trainer.strategy
            batch = strategy.batch_to_device(next(iter(self.task.batches(0, self.ranks))))
            loss = strategy.training_step(batch, 0)
            assert isinstance(loss, Tensor)
            loss.backward()  # type: ignore[no-untyped-call]  # torch types it not
            self.zero_grad()
            self.state = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adamw(self.network, self.train_spec)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,  # noqa: ARG002  Lightning's signature
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002  Lightning's signature
    ) -> None:
        """Clips the global norm (Pascanu 2013) and keeps the norm from before."""
        limit = math.inf if gradient_clip_val is None else gradient_clip_val
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit).detach()

    def set_learning_rate(self, step: int, progress: float) -> None:
        self.learning_rate = set_rate(self.optimizer, self.train_spec, step, progress)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """Those of the process."""
        of_cpu = {"rng.torch": torch.default_generator}
        if not torch.cuda.is_available():
            return of_cpu
        return of_cpu | {"rng.cuda": torch.cuda.default_generators[torch.cuda.current_device()]}
