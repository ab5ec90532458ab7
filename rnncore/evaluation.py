"""The loss of a network over a whole text, read once with its state carried. Disturbs no training.

Shapes: B rows, T time, V vocabulary.
"""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rnncore.network import RecurrentNetwork
from rnncore.state import State, select_rows, zero_rows
from rnncore.text import Ids

# One long text is read in rows side by side. Each row first reads, unscored, the symbols that precede it, so that it
# starts in the state that one pass from the beginning would have left, up to what the network forgets in so many.
_WARM_UP = 1024
_ROW = 4096
_MOST_ROWS = 32
_WINDOW = 256


@torch.no_grad()
def evaluate(network: RecurrentNetwork, ids: Ids) -> float:
    """Mean loss in nats per symbol over `ids`, all but the first predicted, with carried state; dropout off."""
    was_training = network.training
    network.eval()
    try:
        total, count = _total(network, ids)
    finally:
        network.train(was_training)
    return total / count


def _total(network: RecurrentNetwork, ids: Ids) -> tuple[float, int]:
    num_targets = len(ids) - 1
    rows = max(1, min(_MOST_ROWS, num_targets // _ROW))
    length = num_targets // rows
    starts = np.arange(rows) * length
    total, state = 0.0, _warmed_up(network, ids, starts)
    for at in range(0, length, _WINDOW):
        loss, state = _read(network, ids, starts + at, min(_WINDOW, length - at), state)
        total += loss
    # What rows of equal length leave over continues the last of them.
    for at in range(rows * length, num_targets, _WINDOW):
        last = select_rows(state, torch.tensor([rows - 1])) if at == rows * length else state
        loss, state = _read(network, ids, np.array([at]), min(_WINDOW, num_targets - at), last)
        total += loss
    return total, num_targets


def _warmed_up(network: RecurrentNetwork, ids: Ids, starts: np.ndarray) -> State:
    if len(starts) == 1:
        return None
    before = np.maximum(starts - _WARM_UP, 0)
    state: State = None
    for at in range(0, _WARM_UP, _WINDOW):
        _, state = _read(network, ids, before + at, _WINDOW, state)
    return zero_rows(state, torch.arange(len(starts)) == 0)


def _read(network: RecurrentNetwork, ids: Ids, starts: np.ndarray, steps: int, state: State) -> tuple[float, State]:
    device = network.embedding.weight.device
    window = torch.from_numpy(ids[starts[:, None] + np.arange(steps + 1)].astype(np.int64)).to(device)
    logits_BTV, state = network(window[:, :-1], state)
    loss = cross_entropy(logits_BTV.flatten(0, 1).float(), window[:, 1:].flatten(), reduction="sum")
    return loss.item(), state
