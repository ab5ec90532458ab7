"""Recurrent state: the only code that knows an LSTM has two tensors.

Shapes: L layers, B batch, H hidden. A state is h_LBH, for an LSTM (h_LBH, c_LBH); None is the zero state.
"""

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
    return tensor_LBH.masked_fill(rows_B[None, :, None], 0)
