"""The language model: its shapes, its initial weights, its dropout. Shapes: B 3, E 4, T 5, H 7, V 11, L 2."""

import pytest
import torch

from rnncore.network import RecurrentNetwork
from rnncore.spec import Cell, ModelSpec

NUM_GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def network(cell: Cell = "lstm", **fields: float) -> RecurrentNetwork:
    torch.manual_seed(3)
    sizes = {"cell": cell, "hidden_size": 7, "num_layers": 2, "embedding_size": 4} | fields
    return RecurrentNetwork(ModelSpec.model_validate(sizes), vocabulary_size=11)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_logits_and_state_have_their_shapes(cell: Cell) -> None:
    logits_BTV, state = network(cell)(torch.zeros(3, 5, dtype=torch.int64))
    assert logits_BTV.shape == (3, 5, 11)
    states = state if isinstance(state, tuple) else (state,)
    assert [part.shape for part in states] == [(2, 3, 7)] * (2 if cell == "lstm" else 1)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_reading_in_two_parts_equals_reading_at_once(cell: Cell) -> None:
    model = network(cell).eval()
    ids_BT = torch.randint(11, (3, 5))
    whole_BTV, end = model(ids_BT)
    first_BTV, middle = model(ids_BT[:, :2])
    second_BTV, also_end = model(ids_BT[:, 2:], middle)
    torch.testing.assert_close(torch.cat([first_BTV, second_BTV], dim=1), whole_BTV, rtol=0, atol=1e-6)
    torch.testing.assert_close(also_end, end, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_recurrent_weights_are_orthogonal_gate_by_gate(cell: Cell) -> None:
    recurrent = network(cell).recurrent
    for layer in range(2):
        gates = getattr(recurrent, f"weight_hh_l{layer}").detach().split(7)
        assert len(gates) == NUM_GATES[cell]
        for gate in gates:
            torch.testing.assert_close(gate @ gate.T, torch.eye(7), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_input_weights_are_glorot_over_all_gates_together(cell: Cell) -> None:
    weight = network(cell, hidden_size=70).recurrent.weight_ih_l0.detach()
    limit = (6 / (NUM_GATES[cell] * 70 + 4)) ** 0.5
    assert weight.abs().max() <= limit
    assert weight.abs().max() > 0.95 * limit


@pytest.mark.parametrize("forget_bias", [1.0, -2.5])
def test_forget_bias_is_that_of_both_biases_together(forget_bias: float) -> None:
    recurrent = network(forget_bias=forget_bias).recurrent
    for layer in range(2):
        both = (getattr(recurrent, f"bias_ih_l{layer}") + getattr(recurrent, f"bias_hh_l{layer}")).detach()
        expected = torch.zeros(28)
        expected[7:14] = forget_bias
        assert torch.equal(both, expected)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_other_cells_have_no_forget_bias(cell: Cell) -> None:
    for name, parameter in network(cell).recurrent.named_parameters():
        assert name.startswith("weight") or not parameter.any()


def test_tied_weights_are_one_parameter_and_counted_once() -> None:
    tied, free = network(embedding_size=7, tie_weights=True), network(embedding_size=7)
    assert tied.output.weight is tied.embedding.weight
    assert free.num_parameters() - tied.num_parameters() == 11 * 7
    assert free.num_parameters() == 11 * 7 + 2 * (28 * 7 + 28 * 7 + 28 + 28) + 7 * 11 + 11


@pytest.mark.parametrize(("num_layers", "between"), [(1, 0.0), (2, 0.5)])
def test_dropout_lies_between_layers_and_before_the_output(num_layers: int, between: float) -> None:
    model = network(num_layers=num_layers, dropout=0.5)
    assert (model.recurrent.dropout, model.dropout.p) == (between, 0.5)


def test_dropout_is_off_in_evaluation() -> None:
    model, ids_BT = network(dropout=0.5), torch.randint(11, (3, 5))
    assert not torch.equal(model(ids_BT)[0], model(ids_BT)[0])
    model.eval()
    assert torch.equal(model(ids_BT)[0], model(ids_BT)[0])
