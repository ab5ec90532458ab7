"""Layers against cells unrolled by hand in float64: outputs, states and every gradient. B 3, T 6, I 4, H 5."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnncore.cells import CellWeights, gru_cell, lstm_cell, rnn_cell
from rnncore.kernels import GruBeforeKernel, GruKernel, RnnKernel
from rnncore.recurrence import Layers, recurrent_layers
from rnncore.spec import ModelSpec
from rnncore.state import State

VARIANTS = [("rnn", True), ("lstm", True), ("gru", True), ("gru", False)]
LENGTHS = torch.tensor([4, 6, 1])


def make_layers(cell: Any, reset_after: bool, num_layers: int, bidirectional: bool) -> Layers:
    model = ModelSpec(
        cell=cell,
        reset_after=reset_after,
        num_layers=num_layers,
        bidirectional=bidirectional,
        hidden_size=5,
        dropout=0,
    )
    torch.manual_seed(1)
    return recurrent_layers(model, 4).double()


def unrolled(
    layers: Layers, model_cell: str, reset_after: bool, x_BTI: Tensor, state: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """One row, one layer, one direction and one step at a time."""
    batch, steps = x_BTI.shape[:2]
    directions = 2 if layers.bidirectional else 1
    finals: list[list[tuple[Tensor, Tensor]]] = []
    outputs = []
    for row in range(batch):
        length = steps if lengths is None else int(lengths[row])
        xs = [x_BTI[row : row + 1, t] for t in range(length)]
        finals.append([])
        for layer in range(layers.num_layers):
            both = []
            for direction in range(directions):
                suffix = f"l{layer}" + ("_reverse" if direction else "")
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                w = CellWeights(*(getattr(layers, f"{name}_{suffix}") for name in names))
                index, zero = layer * directions + direction, x_BTI.new_zeros(1, 5)
                if isinstance(state, tuple):
                    h, c = (part[index, row : row + 1] for part in state)
                else:
                    h, c = (zero if state is None else state[index, row : row + 1]), zero
                hs: list[Tensor] = []
                for x in reversed(xs) if direction else xs:
                    if model_cell == "lstm":
                        h, c = lstm_cell(x, h, c, w)
                    else:
                        h = rnn_cell(x, h, w) if model_cell == "rnn" else gru_cell(x, h, w, reset_after=reset_after)
                    hs.append(h)
                finals[-1].append((h, c))
                both.append(hs[::-1] if direction else hs)
            xs = [torch.cat(parts, dim=1) for parts in zip(*both, strict=True)]
        padding = [torch.zeros_like(xs[0])] * (steps - length)
        outputs.append(torch.stack(xs + padding, dim=1))
    h_LBH, c_LBH = (
        torch.stack([torch.cat([final[i][part] for final in finals]) for i in range(len(finals[0]))]) for part in (0, 1)
    )
    return torch.cat(outputs), (h_LBH, c_LBH) if model_cell == "lstm" else h_LBH


def tensors(state: State) -> list[Tensor]:
    return [] if state is None else list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize(
    ("variant", "num_layers", "bidirectional", "starts", "ragged"),
    list(product(VARIANTS, (1, 2, 3), (False, True), ("zero", "given"), (False, True))),
)
def test_layers_equal_the_unrolled_cells_and_every_gradient_does(
    variant: tuple[str, bool], num_layers: int, bidirectional: bool, starts: str, ragged: bool
) -> None:
    cell, reset_after = variant
    layers = make_layers(cell, reset_after, num_layers, bidirectional)
    x_BTI = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    shape = (num_layers * (1 + bidirectional), 3, 5)
    state: State = None
    if starts == "given":
        h, c = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
        state = (h, c) if cell == "lstm" else h
    lengths = LENGTHS if ragged else None
    results = []
    for hidden, last in (
        layers(x_BTI, state, lengths),
        unrolled(layers, cell, reset_after, x_BTI, state, lengths),
    ):
        torch.manual_seed(2)
        loss = sum((part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in (hidden, *tensors(last)))
        assert isinstance(loss, Tensor)
        gradients = torch.autograd.grad(loss, [x_BTI, *tensors(state), *layers.parameters()])
        results.append((hidden, *tensors(last), *gradients))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "gates"), [(RnnKernel, 1), (GruKernel, 3), (GruBeforeKernel, 3)])
@pytest.mark.parametrize("steps", [1, 4])
def test_gradcheck_of_each_kernel(kernel: Any, gates: int, steps: int) -> None:
    torch.manual_seed(0)

    def double(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    torch.autograd.gradcheck(
        kernel.apply, (double(steps, 3, gates * 5), double(3, 5), double(gates * 5, 5), double(gates * 5))
    )


@pytest.mark.parametrize(("cell", "kind"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_layers_equal_those_of_torch(cell: str, kind: Any) -> None:
    layers = make_layers(cell, True, 2, True)
    theirs = kind(4, 5, 2, batch_first=True, bidirectional=True).double()
    theirs.load_state_dict(layers.state_dict())
    x_BTI = torch.randn(3, 6, 4, dtype=torch.float64)
    (ours_BTD, ours), (theirs_BTD, last) = layers(x_BTI), theirs(x_BTI)
    torch.testing.assert_close(ours_BTD, theirs_BTD, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours, last, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_dropout_between_layers_in_training_alone(variant: tuple[str, bool]) -> None:
    layers = make_layers(*variant, 2, False)
    layers.dropout = 0.5
    x_BTI = torch.randn(3, 6, 4, dtype=torch.float64)
    assert not torch.equal(layers(x_BTI)[0], layers(x_BTI)[0])
    layers.eval()
    assert torch.equal(layers(x_BTI)[0], layers(x_BTI)[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_autocast_leaves_the_sum_over_time_in_the_precision_of_the_weights(variant: tuple[str, bool]) -> None:
    layers = make_layers(*variant, 1, False).float()
    x_BTI = torch.randn(3, 6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = layers(x_BTI)
    torch.testing.assert_close(half.float(), layers(x_BTI)[0], rtol=0, atol=0.02)
