"""One TBPTT step: what it carries, what it cuts off, how it weighs and clips. Shapes: B 3, T 5, H 7, V 11, L 2."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rnncore.cells import CellWeights, gru_cell, lstm_cell, rnn_cell
from rnncore.module import RecurrentModule
from rnncore.network import RecurrentNetwork
from rnncore.spec import Cell, JobSpec, TrainSpec
from rnncore.state import detach_state
from rnncore.streams import Streams, Window
from rnncore.tasks.language_model import LanguageModel
from rnncore.text import TextData
from rnncore.vocabulary import Vocabulary

MakeNetwork = Callable[..., RecurrentNetwork]
CELLS: list[Cell] = ["rnn", "lstm", "gru"]
TEXT = np.random.default_rng(9).integers(0, 11, size=3 * 23 + 1).astype(np.uint8)


def module_of(network: RecurrentNetwork, train: TrainSpec) -> RecurrentModule:
    spec = JobSpec(dataset="ds-" + "0" * 32, model=network.model, train=train.model_copy(update={"batch_size": 3}))
    vocabulary = Vocabulary(kind="characters", symbols="abcdefghijk")
    return RecurrentModule(network, LanguageModel(spec, TextData(vocabulary, TEXT, TEXT)), spec.train)


def windows(*lengths: int) -> list[Window]:
    """Random symbols in windows of these lengths, each going on from the one before; only the first one starts."""
    symbols_BT = torch.randint(11, (3, sum(lengths) + 1), generator=torch.Generator().manual_seed(8))
    cut, at = [], 0
    for length in lengths:
        inputs_BT, targets_BT = symbols_BT[:, at : at + length], symbols_BT[:, at + 1 : at + length + 1]
        cut.append(Window(inputs_BT, targets_BT, advance=length, starts=at == 0, num_targets=targets_BT.numel()))
        at += length
    return cut


def gradients(loss: Tensor, network: RecurrentNetwork) -> dict[str, Tensor]:
    named = dict(network.named_parameters())
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def unrolled_loss(network: RecurrentNetwork, window: Window) -> Tensor:
    """Mean loss from the zero state, step by step through the hand-written cells, nothing cut off."""
    layers = [
        CellWeights(
            *(getattr(network.recurrent, f"{name}_l{n}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        )
        for n in range(2)
    ]
    h, c = [torch.zeros(3, 7)] * 2, [torch.zeros(3, 7)] * 2
    losses = []
    for t in range(window.inputs_BT.shape[1]):
        x = network.embedding(window.inputs_BT[:, t])
        for n, w in enumerate(layers):
            if network.model.cell == "lstm":
                h[n], c[n] = lstm_cell(x, h[n], c[n], w)
            else:
                h[n] = (rnn_cell if network.model.cell == "rnn" else gru_cell)(x, h[n], w)
            x = h[n]
        losses.append(cross_entropy(network.output(x), window.targets_BN[:, t]))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("cell", CELLS)
def test_state_is_carried_from_window_to_window(make_network: MakeNetwork, cell: Cell) -> None:
    network = make_network(cell=cell)
    first, second = windows(5, 5)
    module = module_of(network, TrainSpec(tbptt_steps=5))
    module.training_step(first, 0)
    loss = module.training_step(second, 1)
    whole_BTV, _ = network(torch.cat([first.inputs_BT, second.inputs_BT], dim=1))
    expected = cross_entropy(whole_BTV[:, 5:].flatten(0, 1), second.targets_BN.flatten())
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_state_is_dropped_where_the_streams_start_again(make_network: MakeNetwork) -> None:
    network = make_network()
    first, second = windows(5, 5)
    module = module_of(network, TrainSpec(tbptt_steps=5))
    module.training_step(first, 0)
    loss = module.training_step(second._replace(starts=True), 1)
    afresh_BTV, _ = network(second.inputs_BT)
    assert loss.item() == cross_entropy(afresh_BTV.flatten(0, 1), second.targets_BN.flatten()).item()


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_stops_at_the_beginning_of_the_window(make_network: MakeNetwork, cell: Cell) -> None:
    network = make_network(cell=cell)
    first, second = windows(5, 5)
    module = module_of(network, TrainSpec(tbptt_steps=5))
    module.training_step(first, 0)
    ours = gradients(module.training_step(second, 1), network)

    def loss_after(*, detach: bool) -> Tensor:
        _, state = network(first.inputs_BT)
        logits_BTV, _ = network(second.inputs_BT, detach_state(state) if detach else state)
        return cross_entropy(logits_BTV.flatten(0, 1), second.targets_BN.flatten())

    torch.testing.assert_close(ours, gradients(loss_after(detach=True), network), rtol=0, atol=1e-7)
    through = gradients(loss_after(detach=False), network)
    assert max((ours[name] - through[name]).abs().max() for name in ours) > 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_window_as_long_as_the_text_is_full_backpropagation(make_network: MakeNetwork, cell: Cell) -> None:
    network = make_network(cell=cell)
    (window,) = windows(17)
    module = module_of(network, TrainSpec(tbptt_steps=17))
    ours = gradients(module.training_step(window, 0), network)
    torch.testing.assert_close(ours, gradients(unrolled_loss(network, window), network), rtol=0, atol=1e-6)


def test_shorter_window_weighs_by_its_share_and_reports_its_own_mean(make_network: MakeNetwork) -> None:
    network = make_network()
    (window,) = windows(2)
    module = module_of(network, TrainSpec(tbptt_steps=5))
    loss = module.training_step(window, 0)
    logits_BTV, _ = network(window.inputs_BT)
    mean = cross_entropy(logits_BTV.flatten(0, 1), window.targets_BN.flatten()).item()
    assert loss.item() == pytest.approx(mean * 2 / 5, rel=1e-6)
    assert module.loss.item() == mean
    assert not module.loss.requires_grad


def norm(parameters: list[nn.Parameter]) -> float:
    return math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in parameters if p.grad is not None))


@pytest.mark.parametrize("limit", [0.01, 1e6, None])
def test_clipping_bounds_the_norm_and_reports_the_one_from_before(
    make_network: MakeNetwork, limit: float | None
) -> None:
    network = make_network()
    module = module_of(network, TrainSpec(tbptt_steps=5))
    module.training_step(windows(5)[0], 0).backward()
    parameters = list(network.parameters())
    before = norm(parameters)
    module.configure_gradient_clipping(module.configure_optimizers(), limit)
    assert module.gradient_norm.item() == pytest.approx(before, rel=1e-5)
    assert before > 0.1
    assert norm(parameters) == pytest.approx(0.01 if limit == 0.01 else before, rel=1e-3)


def test_biases_are_not_decayed(make_network: MakeNetwork) -> None:
    network = make_network()
    groups = module_of(network, TrainSpec(weight_decay=0.3)).configure_optimizers().param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        assert decay[id(parameter)] == (0.0 if "bias" in name else 0.3), name


def hand_detached(network: RecurrentNetwork, steps: int, stride: int, update: int) -> Tensor:
    """Loss of one update written out: read on to where its gradient begins, cut, read to its end, score what is new."""
    streams_BT = torch.from_numpy(TEXT[:-1].reshape(3, 23).astype("int64"))
    targets_BT = torch.from_numpy(TEXT[1:].reshape(3, 23).astype("int64"))
    new, end = update * stride, min((update + 1) * stride, 23)
    begin = max(0, (update + 1) * stride - steps)
    state = detach_state(network(streams_BT[:, :begin])[1]) if begin else None
    logits_BTV, _ = network(streams_BT[:, begin:end], state)
    return cross_entropy(logits_BTV[:, new - begin :].flatten(0, 1), targets_BT[:, new:end].flatten())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("steps", "stride"), [(5, 5), (5, 3), (6, 2), (7, 1), (23, 4), (23, 23)])
def test_each_update_equals_the_hand_detached_one(
    make_network: MakeNetwork, cell: Cell, steps: int, stride: int
) -> None:
    network = make_network(cell=cell)
    module = module_of(network, TrainSpec(tbptt_steps=steps, tbptt_stride=stride))
    streams = module.task.batches(first=0)
    assert isinstance(streams, Streams)
    for update in range(streams.windows_per_epoch):
        loss = module.training_step(streams.window(update), update)
        expected = hand_detached(network, steps, stride, update)
        assert module.loss.item() == pytest.approx(expected.item(), abs=1e-6)
        share = min(stride, 23 - update * stride) / stride
        ours, theirs = gradients(loss, network), gradients(expected * share, network)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_document_is_read_as_if_nothing_stood_before_it_and_other_rows_go_on(
    make_network: MakeNetwork, cell: Cell
) -> None:
    network = make_network(cell=cell)
    ids_BT = torch.randint(10, (3, 9), generator=torch.Generator().manual_seed(8))
    _, plain_state = network(ids_BT)
    begins = ids_BT.clone()
    begins[1, 4] = begins[2, 0] = begins[2, 6] = 10
    network.boundary_id = 10
    logits_BTV, state = network(begins, detach_state(plain_state))
    network.boundary_id = None
    carried_BTV, _ = network(begins, plain_state)
    torch.testing.assert_close(logits_BTV[0], carried_BTV[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(logits_BTV[1, :4], carried_BTV[1, :4], rtol=0, atol=1e-6)
    for row, begin, end in ((1, 4, 9), (2, 0, 6), (2, 6, 9)):
        alone_BTV, alone_state = network(begins[row : row + 1, begin:end])
        torch.testing.assert_close(logits_BTV[row, begin:end], alone_BTV[0], rtol=0, atol=1e-6)
        if end == 9:
            for all_rows, alone in zip(_parts(state), _parts(alone_state), strict=True):
                torch.testing.assert_close(all_rows[:, row : row + 1], alone, rtol=0, atol=1e-6)


def test_no_gradient_flows_into_the_document_before(make_network: MakeNetwork) -> None:
    network = make_network()
    network.boundary_id = 10
    ids_BT = torch.tensor([[1, 2, 3, 10, 4, 5]])
    logits_BTV, _ = network(ids_BT)
    (gradient,) = torch.autograd.grad(logits_BTV[0, 3:].sum(), network.embedding.weight)
    assert gradient[[1, 2, 3]].abs().max() == 0
    assert gradient[[4, 10]].abs().min() > 0


def _parts(state: object) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)  # type: ignore[return-value]
