"""The one-step decoder gives what the network gives. Shapes: B 3, T 5, V 11."""

from collections.abc import Callable

import pytest
import torch

from rnncore.network import RecurrentNetwork
from rnncore.spec import Cell
from rnncore.state import State
from rnncore.stepper import Stepper

MakeNetwork = Callable[..., RecurrentNetwork]


@torch.no_grad()
def check(network: RecurrentNetwork) -> None:
    """Prompts of 2 symbols and 3 further steps, against the network over all 5."""
    ids_BT = torch.randint(11, (3, 5), generator=torch.Generator().manual_seed(4))
    stepper = Stepper(network)
    logits_BV, state = stepper.read(ids_BT[:, :2])
    for read in range(2, 6):
        expected_BTV, expected_state = network(ids_BT[:, :read])
        torch.testing.assert_close(logits_BV, expected_BTV[:, -1], rtol=0, atol=1e-5)
        torch.testing.assert_close(state, expected_state, rtol=0, atol=1e-5)
        if read < 5:
            logits_BV, state = stepper.step(ids_BT[:, read], state)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_steps_equal_the_network(make_network: MakeNetwork, cell: Cell, num_layers: int) -> None:
    check(make_network(cell=cell, num_layers=num_layers))


def test_steps_equal_the_network_of_a_gru_that_resets_before_the_product(make_network: MakeNetwork) -> None:
    check(make_network(cell="gru", reset_after=False))


def test_steps_equal_the_network_with_tied_weights(make_network: MakeNetwork) -> None:
    check(make_network(embedding_size=7, tie_weights=True))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_prompt_may_be_read_in_parts(make_network: MakeNetwork, cell: Cell) -> None:
    stepper = Stepper(make_network(cell=cell))
    ids_BT = torch.randint(11, (3, 5), generator=torch.Generator().manual_seed(4))
    whole = stepper.read(ids_BT)
    torch.testing.assert_close(stepper.read(ids_BT[:, 2:], stepper.read(ids_BT[:, :2])[1]), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_steps_forget_the_document_before_as_the_network_does(make_network: MakeNetwork, cell: Cell) -> None:
    network = make_network(cell=cell)
    network.boundary_id = 4  # read by two rows while stepping
    check(network)


def test_reading_uses_no_dropout_and_keeps_the_training_mode(make_network: MakeNetwork) -> None:
    network = make_network(dropout=0.5).train()
    stepper, ids_BT = Stepper(network), torch.zeros(3, 5, dtype=torch.int64)
    assert torch.equal(stepper.read(ids_BT)[0], stepper.read(ids_BT)[0])
    assert network.training


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_step_leaves_the_state_it_was_given(make_network: MakeNetwork, cell: Cell) -> None:
    def parts(state: State) -> list[torch.Tensor]:
        return [part for part in (state if isinstance(state, tuple) else [state]) if part is not None]

    stepper = Stepper(make_network(cell=cell))
    _, state = stepper.read(torch.zeros(3, 5, dtype=torch.int64))
    before = [part.clone() for part in parts(state)]
    stepper.step(torch.tensor([1, 2, 3]), state)
    assert all(torch.equal(now, then) for now, then in zip(parts(state), before, strict=True))
