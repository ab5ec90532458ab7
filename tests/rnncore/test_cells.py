"""One step of each cell against NumPy and against torch.nn. Shapes: B 3, T 5, I 4, H 7."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnncore.cells import CellWeights, gru_cell, gru_gates, lstm_cell, lstm_gates, rnn_cell
from rnncore.spec import Cell

Array = np.ndarray
MODULES: dict[Cell, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def rnn_step(x: Array, h: Array, c: Array, w: list[Array]) -> tuple[Array, Array]:
    return np.tanh(x @ w[0].T + w[2] + h @ w[1].T + w[3]), c


def lstm_step(x: Array, h: Array, c: Array, w: list[Array]) -> tuple[Array, Array]:
    a = x @ w[0].T + w[2] + h @ w[1].T + w[3]
    i, f, g, o = (a[:, n * 7 : (n + 1) * 7] for n in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x: Array, h: Array, c: Array, w: list[Array]) -> tuple[Array, Array]:
    a, b = x @ w[0].T + w[2], h @ w[1].T + w[3]
    r = sigmoid(a[:, :7] + b[:, :7])
    z = sigmoid(a[:, 7:14] + b[:, 7:14])
    n = np.tanh(a[:, 14:] + r * b[:, 14:])
    return (1 - z) * n + z * h, c


def gru_step_resetting_before(x: Array, h: Array, c: Array, w: list[Array]) -> tuple[Array, Array]:
    a, b = x @ w[0].T + w[2], h @ w[1].T + w[3]
    r = sigmoid(a[:, :7] + b[:, :7])
    z = sigmoid(a[:, 7:14] + b[:, 7:14])
    n = np.tanh(a[:, 14:] + (r * h) @ w[1][14:].T + w[3][14:])
    return (1 - z) * n + z * h, c


REFERENCES: dict[Cell, Callable[..., tuple[Array, Array]]] = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step}


def step(cell: Cell, x: Tensor, h: Tensor, c: Tensor, w: CellWeights) -> tuple[Tensor, Tensor]:
    if cell == "lstm":
        return lstm_cell(x, h, c, w)
    return (rnn_cell if cell == "rnn" else gru_cell)(x, h, w), c


def weights_of(module: nn.RNNBase, layer: int) -> CellWeights:
    return CellWeights(
        *(getattr(module, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    )


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_cell_equals_its_equations_in_numpy(cell: Cell) -> None:
    w = weights_of(MODULES[cell](4, 7).double(), 0)
    x, h, c = torch.randn(3, 4).double(), torch.randn(3, 7).double(), torch.randn(3, 7).double()
    ours = step(cell, x, h, c, w)
    theirs = REFERENCES[cell](x.numpy(), h.numpy(), c.numpy(), [tensor.detach().numpy() for tensor in w])
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.detach().numpy(), their, rtol=0, atol=1e-14)


def test_gru_that_resets_before_the_product_equals_its_equations_in_numpy() -> None:
    w = weights_of(nn.GRU(4, 7).double(), 0)
    x, h = torch.randn(3, 4).double(), torch.randn(3, 7).double()
    ours = gru_cell(x, h, w, reset_after=False)
    theirs, _ = gru_step_resetting_before(x.numpy(), h.numpy(), h.numpy(), [tensor.detach().numpy() for tensor in w])
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_unrolled_cell_equals_the_fast_path_and_its_gradients(cell: Cell, num_layers: int) -> None:
    module = MODULES[cell](4, 7, num_layers, batch_first=True)
    x_BTI, h_LBH, c_LBH = torch.randn(3, 5, 4), torch.randn(num_layers, 3, 7), torch.randn(num_layers, 3, 7)
    mix_BTH = torch.randn(3, 5, 7)

    fast_BTH, fast_state = module(x_BTI, (h_LBH, c_LBH) if cell == "lstm" else h_LBH)
    fast_gradients = torch.autograd.grad((fast_BTH * mix_BTH).sum(), list(module.parameters()))

    h, c, outputs = list(h_LBH), list(c_LBH), []
    for t in range(5):
        x = x_BTI[:, t]
        for layer in range(num_layers):
            h[layer], c[layer] = step(cell, x, h[layer], c[layer], weights_of(module, layer))
            x = h[layer]
        outputs.append(x)
    slow_BTH = torch.stack(outputs, dim=1)
    slow_gradients = torch.autograd.grad((slow_BTH * mix_BTH).sum(), list(module.parameters()))

    torch.testing.assert_close(slow_BTH, fast_BTH, rtol=0, atol=1e-5)
    last = fast_state if cell == "lstm" else (fast_state, c_LBH)
    torch.testing.assert_close((torch.stack(h), torch.stack(c)), last, rtol=0, atol=1e-5)
    torch.testing.assert_close(slow_gradients, fast_gradients, rtol=1e-5, atol=1e-5)


def test_z_of_the_gru_is_the_share_of_the_old_state() -> None:
    keep_all = CellWeights(
        torch.zeros(21, 4), torch.zeros(21, 7), torch.tensor([0.0] * 7 + [100.0] * 7 + [5.0] * 7), torch.zeros(21)
    )
    h = torch.randn(3, 7)
    assert torch.equal(gru_cell(torch.randn(3, 4), h, keep_all), h)


@pytest.mark.parametrize(("reset_after", "candidate"), [(True, 0.0), (False, math.tanh(5.0))])
def test_gru_resets_on_the_side_of_the_recurrent_product_that_it_is_told(reset_after: bool, candidate: float) -> None:
    # With r = 0 after the product the recurrent bias of the candidate is switched off too; before it, it stays.
    b_ih = torch.tensor([-100.0] * 7 + [-100.0] * 7 + [0.0] * 7)
    b_hh = torch.tensor([0.0] * 14 + [5.0] * 7)
    w = CellWeights(torch.zeros(21, 4), torch.zeros(21, 7), b_ih, b_hh)
    h = gru_cell(torch.randn(3, 4), torch.randn(3, 7), w, reset_after=reset_after)
    assert torch.equal(h, torch.full((3, 7), candidate))


def test_gates_are_stacked_in_the_order_their_names_say() -> None:
    # All weights are zero: a gate is its bias, squashed.
    x, h, biases = torch.randn(3, 4), torch.randn(3, 7), torch.arange(1.0, 5.0).repeat_interleave(7)
    sigmoid, tanh = torch.sigmoid, torch.tanh
    lstm = lstm_gates(x, h, CellWeights(torch.zeros(28, 4), torch.zeros(28, 7), biases, torch.zeros(28)))
    gru = gru_gates(x, h, CellWeights(torch.zeros(21, 4), torch.zeros(21, 7), biases[:21], torch.zeros(21)))
    for gates, squashes in ((lstm, (sigmoid, sigmoid, tanh, sigmoid)), (gru, (sigmoid, sigmoid, tanh))):
        for n, (gate, squash) in enumerate(zip(gates, squashes, strict=True), 1):
            torch.testing.assert_close(gate, squash(torch.full((3, 7), float(n))))
