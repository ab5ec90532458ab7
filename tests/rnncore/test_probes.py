"""Probes against networks whose insides are known, and against the fast path. V 11, H 7 unless said."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from rnncore.cells import rnn_cell
from rnncore.encoding import Encoding, Scale
from rnncore.errors import InvalidInput
from rnncore.gradients import gradient_by_lag
from rnncore.network import RecurrentNetwork
from rnncore.probes import Options, inspect, memory_lengths, saturation, surprisals, window_loss
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import ModelSpec
from rnncore.tasks.table import make_network as network_of_task
from rnncore.tokens import Tokens
from rnncore.unrolled import unroll
from rnncore.vocabulary import Vocabulary

MakeNetwork = Callable[..., RecurrentNetwork]
LETTERS = "abcdefghijk"
TEXT = Encoding(vocabulary=Vocabulary(kind="characters", symbols=LETTERS))
IDS = torch.randint(11, (1, 24), generator=torch.Generator().manual_seed(4))
CELLS: list[dict[str, Any]] = [
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]


@torch.no_grad()
def emptied(network: RecurrentNetwork) -> RecurrentNetwork:
    """All parameters zero."""
    for parameter in network.parameters():
        parameter.zero_()
    return network


def at_last(outputs_BK: torch.Tensor, at_B: torch.Tensor) -> torch.Tensor:
    """The sum of the outputs."""
    return outputs_BK.sum(dim=1)


@pytest.mark.parametrize("fields", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
@torch.no_grad()
def test_trace_is_what_the_fast_path_hides(make_network: MakeNetwork, fields: Any, num_layers: int) -> None:
    network = make_network(num_layers=num_layers, **fields)
    network.boundary_id = 4
    trace = unroll(network, IDS)
    logits_1TV, state = network(IDS)
    torch.testing.assert_close(network.output(trace.hidden[-1]), logits_1TV[0], rtol=0, atol=1e-5)
    last = torch.stack([trace.content(layer)[-1] for layer in range(num_layers)])
    torch.testing.assert_close(last, state[1][:, 0] if isinstance(state, tuple) else state[:, 0], rtol=0, atol=1e-5)


def test_uniform_network_is_surprised_by_ln_v_everywhere(make_network: MakeNetwork) -> None:
    views = surprisals(emptied(make_network()), IDS[0], LETTERS.__getitem__, 3)
    assert [view.symbol for view in views] == [LETTERS[i] for i in IDS[0].tolist()]
    assert views[0].surprisal is None
    assert [view.surprisal for view in views[1:]] == [pytest.approx(math.log(11), abs=1e-3)] * 23
    assert [one.probability for one in views[1].top] == [pytest.approx(1 / 11, abs=1e-4)] * 3


@torch.no_grad()
def test_surprisals_are_the_loss_and_the_likeliest_comes_first(make_network: MakeNetwork) -> None:
    network = make_network()
    views = surprisals(network, IDS[0], LETTERS.__getitem__, 11)
    logits_TV = network(IDS)[0][0, :-1]
    expected = cross_entropy(logits_TV, IDS[0, 1:], reduction="none").tolist()
    assert [view.surprisal for view in views[1:]] == pytest.approx(expected, rel=1e-3)
    assert LETTERS.index(views[5].top[0].symbol) == logits_TV[4].argmax()
    assert sum(one.probability for one in views[5].top) == pytest.approx(1, abs=1e-3)


@torch.no_grad()
def test_gradient_of_a_nearly_linear_rnn_falls_by_its_own_factor(make_network: MakeNetwork) -> None:
    network = emptied(make_network(cell="rnn", num_layers=1))
    network.recurrent.weight_hh_l0.copy_(0.9 * torch.eye(7))  # no input, h = 0: tanh is the identity here
    network.output.weight.copy_(torch.eye(11, 7))
    (layer,) = gradient_by_lag(network, IDS, [12, 23], 12, at_last)
    assert layer.hidden == pytest.approx([math.sqrt(7) * 0.9**lag for lag in range(13)], rel=1e-3)
    assert layer.cell is None


@torch.no_grad()
@pytest.mark.parametrize("bias", [-10.0, 0.0, 10.0])
def test_gradient_of_a_cell_falls_by_the_forget_gate(make_network: MakeNetwork, bias: float) -> None:
    network = emptied(make_network(cell="lstm", num_layers=1))
    network.recurrent.bias_ih_l0[7:14] = bias
    network.output.weight.copy_(torch.eye(11, 7))
    (layer,) = gradient_by_lag(network, IDS, [12], 12, at_last)
    forget = 1 / (1 + math.exp(-bias))
    # c = 0 and g = 0 all along: h = 0.5 * tanh(c), and h itself feeds nothing.
    assert layer.cell == pytest.approx([math.sqrt(7) * 0.5 * forget**lag for lag in range(13)], rel=1e-3)
    assert layer.hidden == [pytest.approx(math.sqrt(7), rel=1e-3), *[0.0] * 12]


@torch.no_grad()
def test_gradient_of_a_gru_falls_by_the_update_gate(make_network: MakeNetwork) -> None:
    network = emptied(make_network(cell="gru", num_layers=1))
    network.recurrent.bias_ih_l0[7:14] = 2.0
    network.output.weight.copy_(torch.eye(11, 7))
    (layer,) = gradient_by_lag(network, IDS, [12], 12, at_last)
    keep = 1 / (1 + math.exp(-2.0))
    assert layer.hidden == pytest.approx([math.sqrt(7) * keep**lag for lag in range(13)], rel=1e-3)


@pytest.mark.parametrize("fields", CELLS)
def test_gradient_is_that_of_a_difference_quotient(make_network: MakeNetwork, fields: Any) -> None:
    """The norm at one lag, from perturbing the state there and reading on."""
    network = make_network(num_layers=1, **fields).double()
    (layer,) = gradient_by_lag(network, IDS, [20], 5, at_last)
    with torch.no_grad():
        _, state = network(IDS[:, :16])  # the state of step 15 = 20 - 5
        cell = state[1] if isinstance(state, tuple) else None
        h = state[0] if isinstance(state, tuple) else state

        def answer(h: torch.Tensor) -> float:
            return network(IDS[:, 16:21], h if cell is None else (h, cell))[0][0, -1].sum().item()

        steps = torch.eye(7).double()[:, None, None] * 1e-6
        gradient = [(answer(h + step) - answer(h - step)) / 2e-6 for step in steps]
    assert layer.hidden[5] == pytest.approx(np.linalg.norm(gradient), rel=1e-3)


def test_no_gradient_crosses_a_document_boundary(make_network: MakeNetwork) -> None:
    network = make_network(num_layers=2)
    network.boundary_id = 4
    ids = torch.tensor([[0, 1, 2, 3, 4, 5, 6]])  # the boundary is read at step 4
    for layer in gradient_by_lag(network, ids, [6], 6, at_last):
        assert all(norm > 0 for norm in layer.hidden[:3])
        assert layer.hidden[3:] == [0.0] * 4


@torch.no_grad()
@pytest.mark.parametrize("bias", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize(("cell", "gate"), [("lstm", slice(7, 14)), ("gru", slice(7, 14))])
def test_memory_of_a_gate_that_is_always_the_same(
    make_network: MakeNetwork, cell: Any, gate: slice, bias: float
) -> None:
    network = emptied(make_network(cell=cell, num_layers=1))
    network.recurrent.bias_ih_l0[gate] = bias
    steps = memory_lengths(network, unroll(network, IDS), 0)
    assert steps == pytest.approx([-1 / math.log(1 / (1 + math.exp(-bias)))] * 7, rel=1e-4)


@torch.no_grad()
def test_memory_of_a_tanh_unit_is_that_of_its_own_connection(make_network: MakeNetwork) -> None:
    network = emptied(make_network(cell="rnn", num_layers=1))
    network.recurrent.weight_hh_l0.fill_diagonal_(0.5)
    assert memory_lengths(network, unroll(network, IDS), 0) == pytest.approx([1 / math.log(2)] * 7)
    network.recurrent.weight_hh_l0.fill_diagonal_(1.0)
    assert memory_lengths(network, unroll(network, IDS), 0) == [math.inf] * 7


@pytest.mark.parametrize(("cell", "gate"), [("lstm", "f"), ("gru", "z")])
@torch.no_grad()
def test_memory_is_the_time_constant_of_what_a_changing_gate_keeps_in_all(
    make_network: MakeNetwork, cell: Any, gate: str
) -> None:
    network = make_network(cell=cell, num_layers=1)
    trace = unroll(network, IDS)
    left = trace.gates[0][gate].double().prod(dim=0).tolist()
    assert left == pytest.approx([math.exp(-24 / steps) for steps in memory_lengths(network, trace, 0)], rel=1e-4)


def test_memory_of_a_tanh_unit_follows_its_derivative(make_network: MakeNetwork) -> None:
    network = make_network(cell="rnn", num_layers=1)
    trace = unroll(network, IDS)
    weights = network.recurrent.cell_weights(0)
    states = [torch.zeros(7), *trace.hidden[0]]
    kept = torch.ones(7, dtype=torch.float64)
    for t, embedded in enumerate(network.embedding(IDS)[0].detach()):

        def step(h: torch.Tensor, x: torch.Tensor = embedded) -> torch.Tensor:
            return rnn_cell(x[None], h[None], weights)[0]

        kept *= torch.autograd.functional.jacobian(step, states[t]).diagonal().double().abs()
    assert kept.tolist() == pytest.approx(
        [math.exp(-24 / steps) for steps in memory_lengths(network, trace, 0)], rel=1e-4
    )


def test_gradient_of_a_language_model_is_that_of_the_next_symbols_surprisal(make_network: MakeNetwork) -> None:
    network = make_network(num_layers=1)
    seen = inspect(network, "language_model", TEXT, IDS[0].numpy(), Options(lags=5)).gradient
    assert seen is not None

    def surprisal(outputs_BK: torch.Tensor, at_B: torch.Tensor) -> torch.Tensor:
        following = torch.tensor([IDS[0, at + 1] for at in at_B.tolist()])
        return -outputs_BK.log_softmax(dim=1)[torch.arange(len(at_B)), following]

    (expected,) = gradient_by_lag(network, IDS, seen.positions, 5, surprisal)
    assert seen.layers[0].hidden == pytest.approx(expected.hidden, rel=1e-3)


def test_saturation_counts_both_ends() -> None:
    view = saturation(torch.tensor([[0.05, 0.95], [0.5, 0.99], [0.09, 0.91], [0.1, 0.9]]))
    assert (view.below, view.above) == ([0.5, 0.0], [0.0, 0.75])


@torch.no_grad()
def test_gates_are_the_ones_they_are_named_after(make_network: MakeNetwork) -> None:
    network = emptied(make_network(cell="lstm", num_layers=1))
    for n, bias in enumerate((10.0, -10.0, 0.0, 0.0)):  # i f g o
        network.recurrent.bias_ih_l0[7 * n : 7 * (n + 1)] = bias
    (layer,) = inspect(network, "language_model", TEXT, IDS[0].numpy(), Options()).layers
    assert list(layer.gates) == ["i", "f", "o"]
    assert (layer.gates["i"].above, layer.gates["f"].below) == ([1.0] * 7, [1.0] * 7)
    assert (layer.gates["o"].above, layer.gates["o"].below) == ([0.0] * 7, [0.0] * 7)


def test_window_loss_shows_what_the_carried_state_is_worth(make_network: MakeNetwork) -> None:
    """A network that sums what it read knows nothing at the beginning of a fresh window."""
    network = make_network(num_layers=1)
    ids = np.random.default_rng(0).integers(0, 11, 65)
    found = window_loss(network, ids, 16)
    assert found is not None
    assert found.windows == 4
    with torch.no_grad():
        whole = torch.from_numpy(ids)
        carried = cross_entropy(network(whole[None, :-1])[0][0], whole[1:], reduction="none").view(4, 16).mean(0)
        fresh = cross_entropy(network(whole[:-1].view(4, 16))[0].flatten(0, 1), whole[1:], reduction="none")
    assert found.carried == pytest.approx(carried.tolist(), rel=1e-3)
    assert found.fresh == pytest.approx(fresh.view(4, 16).mean(0).tolist(), rel=1e-3)
    assert found.fresh[0] != found.carried[0]
    assert window_loss(network, ids[:32], 16) is None


@torch.no_grad()
def test_the_unit_that_counts_columns_is_ranked_first(make_network: MakeNetwork) -> None:
    """Unit 3 of an RNN is held at the height of the line's column by hand: it follows the position in the line."""
    symbols = "ab\ncdefghij"
    network = emptied(make_network(cell="rnn", num_layers=1))
    encoding = Encoding(vocabulary=Vocabulary(kind="characters", symbols=symbols))
    # h' = tanh(e(x) + h): letters add a little, the line end takes everything away.
    network.recurrent.weight_hh_l0[3, 3] = 1.0
    network.recurrent.weight_ih_l0[3, 0] = 1.0
    network.embedding.weight[:, 0] = 0.001
    network.embedding.weight[2, 0] = -1.0
    network.recurrent.weight_hh_l0[3, 3] = 1.0
    ids = np.array([0, 1, 3, 4, 5, 6, 7, 8])
    view = inspect(network, "language_model", encoding, ids, Options(num_units=2)).units[0]
    assert (view.layer, view.unit) == (0, 3)
    assert view.feature in ("position in line", "position in word")
    assert view.correlation == pytest.approx(1, abs=1e-3)
    assert view.values == sorted(view.values)


def test_units_are_shown_as_asked_and_only_where_they_exist(make_network: MakeNetwork) -> None:
    network = make_network(cell="gru")
    views = inspect(network, "language_model", TEXT, IDS[0].numpy(), Options(units=((1, 6), (0, 2)))).units
    assert [(view.layer, view.unit) for view in views] == [(1, 6), (0, 2)]
    assert views[0].gates.keys() == {"r", "z"}
    assert len(views[0].values) == len(views[0].gates["z"]) == 24
    with pytest.raises(InvalidInput, match="layer 2, unit 0 does not exist; layers are 0 to 1, units 0 to 6") as info:
        inspect(network, "language_model", TEXT, IDS[0].numpy(), Options(units=((0, 1), (2, 0))))
    assert info.value.param == "units[1]"


@pytest.mark.parametrize("task", ["regress", "forecast"])
def test_numbers_have_a_gradient_from_the_last_step_alone(task: Any) -> None:
    torch.manual_seed(0)
    scale = Scale(mean=(0.0,), deviation=(1.0,))
    encoding = Encoding(input_scale=scale, target_scale=scale)
    network: SequenceNetwork = network_of_task(task, ModelSpec(hidden_size=5, dropout=0), encoding)
    numbers = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32)
    view = inspect(network, task, encoding, numbers, Options(lags=7))
    assert view.gradient is not None
    assert (view.gradient.answer, view.gradient.positions) == ("sum of the values", [19])
    assert len(view.gradient.layers[0].hidden) == 8
    assert (view.symbols, view.window_loss) == ([], None)
    assert [unit.feature for unit in view.units] == [None] * 5


@pytest.mark.parametrize("task", ["classify", "tag", "generate"])
def test_other_tasks_on_symbols(task: Any) -> None:
    encoding = Encoding(inputs=Tokens(tokens=tuple(LETTERS)), outputs=Tokens(tokens=("no", "yes")))
    network = network_of_task(task, ModelSpec(hidden_size=5, dropout=0), encoding)
    view = inspect(network, task, encoding, np.array([0, 1, 2, 1]), Options())
    assert view.gradient is not None
    assert view.gradient.answer == "log-probability of the likeliest answer"
    if task != "generate":
        assert [one.symbol for one in view.symbols] == ["a", "b", "c", "b"]
    assert {one.surprisal for one in view.symbols} == {None}


@pytest.mark.parametrize(
    ("task", "fields", "what"),
    [("translate", {}, "a translate"), ("classify", {"bidirectional": True}, "bidirectional")],
)
def test_networks_that_do_not_read_forwards_alone_are_refused(task: Any, fields: Any, what: str) -> None:
    encoding = Encoding(inputs=Tokens(tokens=tuple(LETTERS)), outputs=Tokens(tokens=("no", "yes")))
    network = network_of_task(task, ModelSpec(hidden_size=5, **fields), encoding)
    with pytest.raises(InvalidInput, match=f"read forwards alone are inspected; this one is {what}"):
        inspect(network, task, encoding, np.array([0, 1]), Options())


def test_looking_inside_disturbs_no_random_number_and_no_gradient(make_network: MakeNetwork) -> None:
    network, before = make_network(), torch.get_rng_state()
    inspect(network, "language_model", TEXT, IDS[0].numpy(), Options())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in network.parameters())
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    frozen = inspect(network, "language_model", TEXT, IDS[0].numpy(), Options())
    assert frozen.gradient is not None
    assert frozen.gradient.layers[0].hidden[10] > 0
