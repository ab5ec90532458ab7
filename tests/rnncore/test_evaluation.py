"""The loss over a whole text: what one pass with carried state gives, however it is cut. V 11 symbols."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax

from rnncore import evaluation
from rnncore.evaluation import evaluate
from rnncore.network import RecurrentNetwork
from rnncore.spec import Cell

MakeNetwork = Callable[..., RecurrentNetwork]


def text(num_symbols: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 11, size=num_symbols).astype(np.uint8)


@torch.no_grad()
def one_pass(network: RecurrentNetwork, ids: np.ndarray) -> float:
    window = torch.from_numpy(ids.astype(np.int64))
    logits, _ = network(window[None, :-1])
    return cross_entropy(logits[0], window[1:]).item()


@pytest.fixture
def small_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 40 symbols or more, each warmed up over 24, read 8 at a time."""
    monkeypatch.setattr(evaluation, "_ROW", 40)
    monkeypatch.setattr(evaluation, "_WARM_UP", 24)
    monkeypatch.setattr(evaluation, "_WINDOW", 8)


@pytest.fixture
def forgetful(make_network: MakeNetwork) -> Callable[[Cell], RecurrentNetwork]:
    """Networks that forget within 24 symbols, and whose state matters before that."""

    def make(cell: Cell) -> RecurrentNetwork:
        network = make_network(cell=cell, forget_bias=-1.0)
        with torch.no_grad():
            network.output.weight.mul_(3)
            for name, parameter in network.recurrent.named_parameters():
                parameter.mul_(0.4 if name.startswith("weight_hh") else 0.8)
        return network

    return make


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize("num_symbols", [2, 9, 40, 41, 80, 81, 82, 200, 207, 1500])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_loss_equals_one_pass_from_the_beginning(
    forgetful: Callable[[Cell], RecurrentNetwork], cell: Cell, num_symbols: int
) -> None:
    network, ids = forgetful(cell), text(num_symbols)
    assert evaluate(network, ids) == pytest.approx(one_pass(network, ids), abs=1e-5)


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_rows_that_start_unprepared_are_told_apart(
    forgetful: Callable[[Cell], RecurrentNetwork], monkeypatch: pytest.MonkeyPatch, cell: Cell
) -> None:
    network, ids = forgetful(cell), text(1500)
    monkeypatch.setattr(evaluation, "_WARM_UP", 0)
    assert abs(evaluate(network, ids) - one_pass(network, ids)) > 1e-4


def test_long_text_is_read_in_rows_with_the_real_sizes(make_network: MakeNetwork) -> None:
    network, ids = make_network(num_layers=1), text(3 * 4096 + 11)
    assert evaluate(network, ids) == pytest.approx(one_pass(network, ids), abs=1e-4)


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize("num_symbols", [2, 8, 9, 40, 41, 81, 82, 200, 207, 1500])
def test_every_symbol_but_the_first_is_scored_once(make_network: MakeNetwork, num_symbols: int) -> None:
    network, ids = make_network(), text(num_symbols)
    with torch.no_grad():  # a network that ignores what it reads: each target then costs what its own bias says
        network.output.weight.zero_()
        costs = -log_softmax(network.output.bias, dim=0).double().numpy()
    assert evaluate(network, ids) == pytest.approx(costs[ids[1:]].mean(), rel=1e-6)


@pytest.mark.usefixtures("small_rows")
def test_two_bytes_an_id_give_the_same_loss(make_network: MakeNetwork) -> None:
    network, ids = make_network(), text(207)
    assert evaluate(network, ids.astype(np.uint16)) == evaluate(network, ids)


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize("is_training", [True, False])
def test_evaluation_leaves_no_trace(make_network: MakeNetwork, is_training: bool) -> None:
    network = make_network(dropout=0.5).train(is_training)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.get_rng_state()
    first = evaluate(network, text(207))
    assert evaluate(network, text(207)) == first
    assert torch.equal(torch.get_rng_state(), generator)
    assert {module.training for module in network.modules()} == {is_training}
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_training_mode_returns_even_if_evaluation_fails(make_network: MakeNetwork) -> None:
    network = make_network().train()
    with pytest.raises(IndexError):
        evaluate(network, np.array([0, 1, 11, 2], dtype=np.uint8))
    assert network.training
