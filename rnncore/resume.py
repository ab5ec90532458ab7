"""All that an exact resume needs besides weights and progress: optimizer, random numbers, hidden states, schedule.

It is kept for the whole job, whatever number of ranks made it, and each rank takes its part of it. Shapes: L layers,
B batch, H hidden.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnncore.module import RecurrentModule
from rnncore.ranks import Ranks
from rnncore.state import state_from_tensors, state_tensors


def seed_rank(ranks: Ranks, seed: int, step: int) -> None:
    """Lets every rank but the first, which goes on as it is, draw random numbers of its own."""
    if ranks.rank:
        sequence = np.random.SeedSequence((seed, step, ranks.rank))
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))


def training_tensors(module: RecurrentModule, schedule: list[float], ranks: Ranks) -> dict[str, Tensor]:
    """All that an exact resume needs besides weights and progress; whole on rank 0 alone.

    States of generators stand one behind the other, hidden states side by side, both in the order of ranks.
    """
    tensors = {
        "rng.torch": ranks.joined(torch.get_rng_state()),
        "schedule.progress": torch.tensor(schedule, dtype=torch.float64),
        **{name: ranks.joined(tensor, dim=1) for name, tensor in state_tensors(module.state).items()},
    }
    if torch.cuda.is_available():
        tensors["rng.cuda"] = ranks.joined(torch.cuda.get_rng_state())
    optimizer = module.trainer.optimizers[0]
    for name, parameter in module.network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{key}"] = value
    return tensors


def restore_training(module: RecurrentModule, tensors: dict[str, Tensor], ranks: Ranks) -> None:
    """This rank's part of them. A rank beyond those that made them keeps the generators that it has."""
    generators: list[tuple[str, Any]] = [("rng.torch", torch)]
    if torch.cuda.is_available() and "rng.cuda" in tensors:
        generators.append(("rng.cuda", torch.cuda))
    for name, generator in generators:
        states = tensors[name].view(-1, len(generator.get_rng_state()))
        if ranks.rank < len(states):
            generator.set_rng_state(states[ranks.rank].clone())  # torch takes no view
    held = {name: tensor for name, tensor in tensors.items() if name.startswith("state.")}
    module.state = state_from_tensors(
        {name: t[:, ranks.rows(t.shape[1])].contiguous().to(module.device) for name, t in held.items()}
    )
    optimizer = module.trainer.optimizers[0]
    for name, parameter in module.network.named_parameters():
        prefix = f"optimizer.{name}."
        optimizer.state[parameter] = {
            key.removeprefix(prefix): value.to(parameter.device)
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
