"""Recurrent state: the only code that knows an LSTM has two tensors.

Shapes: L layers, B batch, H hidden. A state is h_LBH, for an LSTM (h_LBH, c_LBH); None is the zero state.
"""

from torch import Tensor

from rnncore.spec import Cell

State = Tensor | tuple[Tensor, Tensor] | None


def detach_state(state: State) -> State:
    """The same values with their history cut off: what truncation is."""
    if isinstance(state, tuple):
        return state[0].detach(), state[1].detach()
    return None if state is None else state.detach()


def zero_row(state: State, row: int) -> State:
    """A copy of `state` whose row `row` of the batch starts afresh."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return _zero_row(state[0], row), _zero_row(state[1], row)
    return _zero_row(state, row)


def state_tensors(state: State) -> dict[str, Tensor]:
    """Named tensors of `state`, for a checkpoint; empty for the zero state."""
    if state is None:
        return {}
    if isinstance(state, tuple):
        return {"state.h": state[0], "state.c": state[1]}
    return {"state.h": state}


def state_from_tensors(cell: Cell, tensors: dict[str, Tensor]) -> State:
    """The inverse of `state_tensors`; other names in `tensors` are ignored."""
    if "state.h" not in tensors:
        return None
    return (tensors["state.h"], tensors["state.c"]) if cell == "lstm" else tensors["state.h"]


def _zero_row(tensor: Tensor, row: int) -> Tensor:
    tensor = tensor.clone()
    tensor[:, row] = 0
    return tensor
