"""Recurrent state: the only code that knows an LSTM has two tensors.

Shapes: L layers, B batch, H hidden. A state is h_LBH, for an LSTM (h_LBH, c_LBH); None is the zero state.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

State = Tensor | tuple[Tensor, Tensor] | None


def detach_state(state: State) -> State:
    """The same values with their history cut off: what truncation is."""
    if isinstance(state, tuple):
        return state[0].detach(), state[1].detach()
    return None if state is None else state.detach()


def zero_rows(state: State, rows_B: Tensor) -> State:
    """A copy of `state` whose rows where `rows_B` (bool) holds start afresh; no gradient flows back through them."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return _zero_rows(state[0], rows_B), _zero_rows(state[1], rows_B)
    return _zero_rows(state, rows_B)


def select_rows(state: State, rows: Tensor) -> State:
    """The rows of the batch with these numbers (int64), in this order; one may come more than once."""
    if isinstance(state, tuple):
        return state[0][:, rows].contiguous(), state[1][:, rows].contiguous()
    return None if state is None else state[:, rows].contiguous()


def join_networks(states: Sequence[State]) -> State:
    """The states of J networks of one kind, all of them zero or none, as one of L x J x B x H."""
    if states[0] is None:
        return None
    if isinstance(states[0], tuple):  # and so are the others
        h, c = zip(*cast(Sequence[tuple[Tensor, Tensor]], states), strict=True)
        return torch.stack(h, dim=1), torch.stack(c, dim=1)
    return torch.stack(cast(list[Tensor], states), dim=1)


def split_networks(state: State, num_networks: int) -> Sequence[State]:
    """The inverse of `join_networks`; views."""
    if isinstance(state, tuple):
        return list(zip(state[0].unbind(1), state[1].unbind(1), strict=True))
    return [None] * num_networks if state is None else state.unbind(1)


def flat_rows(state: State) -> Tensor:
    """One vector for each row of the batch: h of each layer, then an LSTM's c of each, as a Stepper has them."""
    assert state is not None, "the zero state has no rows"
    parts_LBH = torch.cat(state) if isinstance(state, tuple) else state
    return parts_LBH.transpose(0, 1).flatten(1)


def state_tensors(state: State) -> dict[str, Tensor]:
    """Named tensors of `state`, for a checkpoint; empty for the zero state."""
    if state is None:
        return {}
    if isinstance(state, tuple):
        return {"state.h": state[0], "state.c": state[1]}
    return {"state.h": state}


def state_from_tensors(tensors: dict[str, Tensor]) -> State:
    """The inverse of `state_tensors`; other names in `tensors` are ignored."""
    if "state.h" not in tensors:
        return None
    return (tensors["state.h"], tensors["state.c"]) if "state.c" in tensors else tensors["state.h"]


def _zero_rows(tensor_LBH: Tensor, rows_B: Tensor) -> Tensor:
    return tensor_LBH.masked_fill(rows_B[:, None], 0)
