"""What takes the optimizer steps of one network, as the training loop sees it, and what all of its kinds share.

Two kinds exist: `module` trains one network by Lightning, `fused` several side by side.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from rnncore.network import Network
from rnncore.spec import TrainSpec
from rnncore.state import State

_FINAL_RATE_RATIO = 0.01


class Learner(Protocol):
    """One network in training. Loss and gradient norm are those of the last step, still on its device."""

    state: State
    loss: Tensor
    gradient_norm: Tensor
    learning_rate: float
    num_targets: int
    num_symbols: int

    @property
    def network(self) -> Network: ...
    @property
    def optimizer(self) -> torch.optim.Optimizer: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def generators(self) -> dict[str, torch.Generator]:
        """What it draws its dropout from, by the name under which a checkpoint keeps their states."""
        ...

    def set_learning_rate(self, step: int, progress: float) -> None:
        """That of `rate_at`, for the next step."""
        ...


def adamw(network: Network, train: TrainSpec) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019); biases are not decayed."""
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=train.learning_rate,
        betas=(0.9, 0.999),
        fused=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, train: TrainSpec, step: int, progress: float) -> float:
    """Sets and returns the rate of step `step` (from 0) at `progress`, the share of the budget used so far."""
    rate = train.learning_rate * min(1.0, (step + 1) / max(1, train.warmup_steps))
    if train.schedule == "cosine":
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        rate *= _FINAL_RATE_RATIO + (1 - _FINAL_RATE_RATIO) * falling
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
