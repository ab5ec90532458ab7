"""Recurrent state of one tensor or two: detached, cleared by row, named for a checkpoint. Shapes: L 2, B 3, H 7."""

import pytest
import torch
from torch import Tensor

from rnncore.spec import Cell
from rnncore.state import State, detach_state, flat_rows, state_from_tensors, state_tensors, zero_rows


def tensor(seed: int) -> Tensor:
    return torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(seed))


STATES: list[tuple[Cell, State]] = [("gru", tensor(1)), ("rnn", tensor(2)), ("lstm", (tensor(3), tensor(4)))]


def parts(state: State) -> list[Tensor]:
    return list(state_tensors(state).values())


@pytest.mark.parametrize("state", [state for _, state in STATES])
def test_detached_state_has_the_values_and_no_history(state: State) -> None:
    with_history: State
    if isinstance(state, tuple):
        with_history = (state[0].clone().requires_grad_() * 1, state[1].clone().requires_grad_() * 1)
    else:
        assert state is not None
        with_history = state.clone().requires_grad_() * 1
    detached = detach_state(with_history)
    assert isinstance(detached, tuple) == isinstance(state, tuple)
    for ours, theirs in zip(parts(detached), parts(state), strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad


@pytest.mark.parametrize("state", [state for _, state in STATES])
def test_zeroed_row_leaves_the_others_and_the_original(state: State) -> None:
    before = [part.clone() for part in parts(state)]
    afresh = zero_rows(state, torch.tensor([False, True, False]))
    for original, kept, zeroed in zip(parts(state), before, parts(afresh), strict=True):
        assert torch.equal(original, kept)
        assert torch.equal(zeroed[:, 1], torch.zeros(2, 7))
        assert torch.equal(zeroed[:, [0, 2]], original[:, [0, 2]])


@pytest.mark.parametrize(("cell", "state"), STATES)
def test_state_survives_being_named(cell: Cell, state: State) -> None:
    named = state_tensors(state) | {"rng.torch": tensor(9)}
    restored = state_from_tensors(named)
    assert isinstance(restored, tuple) == (cell == "lstm")
    for ours, theirs in zip(parts(restored), parts(state), strict=True):
        assert torch.equal(ours, theirs)


def test_flat_row_has_h_of_each_layer_and_then_c_of_each() -> None:
    (_, gru), _, (_, lstm) = STATES
    assert isinstance(gru, Tensor)
    assert isinstance(lstm, tuple)
    h, c = lstm
    assert torch.equal(flat_rows(gru), torch.cat([gru[0], gru[1]], dim=1))
    assert torch.equal(flat_rows(lstm), torch.cat([h[0], h[1], c[0], c[1]], dim=1))


def test_zero_state_stays_none() -> None:
    assert detach_state(None) is None
    assert zero_rows(None, torch.tensor([True])) is None
    assert state_tensors(None) == {}
    assert state_from_tensors({}) is None
