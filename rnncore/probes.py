"""Looks inside a trained network: an input is read again step by step through the cells' own equations.

The fast paths hide gates and all states but the last. Shapes: B rows, T steps, I input, H hidden, K outputs, V symbols.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnncore.cells import gru_cell, gru_gates, lstm_cell, lstm_gates, rnn_cell
from rnncore.encoding import Encoding
from rnncore.errors import InvalidInput
from rnncore.inspection import (
    Alternative,
    Gradient,
    Inspection,
    LayerGradient,
    LayerView,
    Saturation,
    SymbolView,
    UnitView,
    WindowLoss,
)
from rnncore.network import RecurrentNetwork
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import Task

MAX_STEPS = 4096
_POSITIONS = 16
_CLOSED, _OPEN = 0.1, 0.9

Reader = RecurrentNetwork | SequenceNetwork


class Options(NamedTuple):
    """How much to show: alternatives of each symbol, ranked units, lags; `units` asks for (layer, unit) by name."""

    top: int = 3
    num_units: int = 8
    units: tuple[tuple[int, int], ...] = ()
    lags: int = 100
    window: int = 64


class Held(NamedTuple):
    """What one layer holds behind one step: h_BH, and c_BH of an LSTM."""

    h: Tensor
    c: Tensor | None


class Trace(NamedTuple):
    """One row's layers over time, a list entry a layer: h_TH, c_TH of an LSTM, and each gate's values_TH."""

    hidden: list[Tensor]
    cell: list[Tensor | None]
    gates: list[dict[str, Tensor]]

    def content(self, layer: int) -> Tensor:
        """What the layer remembers with: c_TH of an LSTM, h_TH of the others."""
        cell = self.cell[layer]
        return self.hidden[layer] if cell is None else cell


def inspect(
    network: Any,
    task: Task,
    encoding: Encoding,
    inputs: NDArray[np.generic],
    options: Options,
    *,
    tbptt_steps: int | None = None,
    more: NDArray[np.generic] | None = None,
) -> Inspection:
    """Everything about one input: ids_T or normalised numbers_TC, as the task reads them; T at least 2.

    `more` is a longer text to measure the loss by position on; else it is `inputs`. Draws nothing from torch's
    generators. Raises InvalidInput for networks that do not read forwards only, and for units they do not have.
    """
    if not isinstance(network, Reader) or network.model.bidirectional:
        what = "bidirectional" if isinstance(network, Reader) else f"a {task}"
        raise InvalidInput(f"only networks that read forwards alone are inspected; this one is {what}", param="model")
    _check_units(network, options.units)
    if not 2 <= len(inputs) <= MAX_STEPS:
        raise InvalidInput(f"has {len(inputs)} symbols or steps; 2 to {MAX_STEPS} are inspected", param="input")
    read = torch.from_numpy(np.asarray(inputs))[None]
    trace = unroll(network, read)
    name = _names(task, encoding)
    symbols = [name(i) for i in read[0].tolist()] if name else []
    views, loss = [SymbolView(symbol=symbol, surprisal=None, top=[]) for symbol in symbols], None
    if isinstance(network, RecurrentNetwork) and name:
        views = surprisals(network, read[0], name, options.top)
        loss = window_loss(network, inputs if more is None else more, options.window)
    return Inspection(
        task=task,
        tbptt_steps=tbptt_steps,
        symbols=views,
        layers=[
            LayerView(
                gates={name: saturation(values_TH) for name, values_TH in gates.items()},
                memory=[
                    None if math.isinf(steps) else _short(steps) for steps in memory_lengths(network, trace, layer)
                ],
            )
            for layer, gates in enumerate(trace.gates)
        ],
        units=_units(trace, _features(symbols) if symbols else {}, options),
        gradient=_gradient(network, task, read, options.lags),
        window_loss=loss,
    )


@torch.no_grad()
def unroll(network: Reader, inputs_1T: Tensor) -> Trace:
    """Reads one row of ids (1 x T) or numbers (1 x T x C) from the zero state."""
    held, states, gates = _zero(network, 1), [], []
    for x, begins in _steps(network, inputs_1T):
        before = _forgotten(held, begins)
        held = _after(network, x, before)
        read = [x, *(state.h for state in held)]
        gates.append([_gates(network, layer, read[layer], state) for layer, state in enumerate(before)])
        states.append(held)
    layers = range(network.model.num_layers)
    cells = [[c for state in states if (c := state[layer].c) is not None] for layer in layers]
    return Trace(
        hidden=[torch.cat([state[layer].h for state in states]) for layer in layers],
        cell=[torch.cat(of_layer) if of_layer else None for of_layer in cells],
        gates=[
            {name: torch.cat([step[layer][name] for step in gates]) for name in gates[0][layer]} for layer in layers
        ],
    )


@torch.no_grad()
def surprisals(network: RecurrentNetwork, ids_T: Tensor, name: Callable[[int], str], top: int) -> list[SymbolView]:
    """-ln p of each symbol given all before it, and the `top` likeliest in its place; `name` says how ids are shown."""
    log_p_TV = network(ids_T[None])[0][0].float().log_softmax(dim=1)
    best = log_p_TV.topk(min(top, log_p_TV.shape[1]), dim=1)
    ids = ids_T.tolist()
    views = [SymbolView(symbol=name(ids[0]), surprisal=None, top=[])]
    for t, following in enumerate(ids[1:]):
        alternatives = [
            Alternative(symbol=name(i), probability=_short(math.exp(p)))
            for i, p in zip(best.indices[t].tolist(), best.values[t].tolist(), strict=True)
        ]
        nats = max(0.0, -log_p_TV[t, following].item())
        views.append(SymbolView(symbol=name(following), surprisal=_short(nats), top=alternatives))
    return views


def saturation(values_TH: Tensor) -> Saturation:
    """Shares of the steps at which each unit's gate is below 0.1 and above 0.9 (Karpathy, Johnson & Li 2015)."""
    return Saturation(
        below=_list((values_TH < _CLOSED).float().mean(dim=0)), above=_list((values_TH > _OPEN).float().mean(dim=0))
    )


def memory_lengths(network: Reader, trace: Trace, layer: int) -> list[float]:
    """Steps after which 1/e of a unit's own content is left, from what it keeps of it on (geometric) average.

    What is kept from one step to the next is the forget gate f of an LSTM and the update gate z of a GRU; -1 / mean
    ln f is the time constant of their product. A tanh unit keeps (1 - h^2) * W_hh[i, i] of itself. Infinite where
    nothing is lost; what other units hold for it is not counted.
    """
    gates = trace.gates[layer]
    if network.model.cell == "rnn":
        own_H = network.recurrent.cell_weights(layer).w_hh.detach().diagonal()
        kept_TH = ((1 - trace.hidden[layer] ** 2) * own_H).abs()
    else:
        kept_TH = gates["f" if network.model.cell == "lstm" else "z"]
    mean_log_H = kept_TH.double().clamp_min(1e-30).log().mean(dim=0)
    return [math.inf if value >= 0 else -1 / value for value in mean_log_H.tolist()]


def gradient_by_lag(
    network: Reader,
    inputs_1T: Tensor,
    positions: list[int],
    lags: int,
    answer: Callable[[Tensor, Tensor], Tensor],
) -> list[LayerGradient]:
    """Norms of the gradient of `answer` at each position t with respect to the states of t, t-1, ..., t-lags.

    `answer` takes outputs_BK of every position and their numbers_B and returns one number each. The states are those of
    the unrolled network: a fused layer's hidden output has no such gradient.
    """
    before = [position - lags for position in positions]
    held = _states_before(network, inputs_1T, before)
    for state in held:  # frozen weights or not, all that follows has a gradient
        state.h.requires_grad_()
    rows = torch.stack([inputs_1T[0, begin : begin + lags + 1] for begin in before])
    steps: list[list[Held]] = []
    with torch.enable_grad():
        for x, begins in _steps(network, rows):
            held = _after(network, x, _forgotten(held, begins))
            steps.append(held)
        total = answer(network.output(held[-1].h), torch.tensor(positions)).sum()
        latest_first = steps[::-1]
        hidden = [[step[layer].h for step in latest_first] for layer in range(len(held))]
        cells = [[c for step in latest_first if (c := step[layer].c) is not None] for layer in range(len(held))]
        states = [state for layer in (*hidden, *cells) for state in layer]
        found = iter(torch.autograd.grad(total, states, allow_unused=True))
    norms = [[_norm(next(found)) for _ in layer] for layer in (*hidden, *cells)]
    return [
        LayerGradient(hidden=of_hidden, cell=of_cells or None)
        for of_hidden, of_cells in zip(norms[: len(held)], norms[len(held) :], strict=True)
    ]


@torch.no_grad()
def window_loss(network: RecurrentNetwork, ids: NDArray[np.generic], window: int) -> WindowLoss | None:
    """Mean loss at each place of consecutive windows, from the zero state and carried; None for fewer than two."""
    number = (len(ids) - 1) // window
    if number < 2:
        return None
    whole = torch.from_numpy(ids[: number * window + 1].astype(np.int64))
    inputs, targets = whole[:-1].view(number, window), whole[1:].view(number, window)
    fresh = cross_entropy(network(inputs)[0].flatten(0, 1).float(), targets.flatten(), reduction="none")
    carried, state = [], None
    for begin in range(0, number * window, window):
        logits_1TV, state = network(whole[None, begin : begin + window], state)
        carried.append(cross_entropy(logits_1TV[0].float(), whole[begin + 1 : begin + window + 1], reduction="none"))
    return WindowLoss(
        windows=number,
        fresh=_list(fresh.view(number, window).mean(dim=0)),
        carried=_list(torch.stack(carried).mean(dim=0)),
    )


def _gradient(network: Reader, task: Task, inputs_1T: Tensor, lags: int) -> Gradient | None:
    steps = inputs_1T.shape[1]
    if task == "language_model":
        last, name = steps - 2, "surprisal of the next symbol"
    else:
        last = steps - 1
        name = "sum of the values" if task in ("regress", "forecast") else "log-probability of the likeliest answer"
    lags = min(lags, last)
    if lags < 1:
        return None
    first = last if task in ("classify", "regress", "forecast") else lags
    positions = sorted({round(at) for at in np.linspace(first, last, _POSITIONS)})

    def answer(outputs_BK: Tensor, at_B: Tensor) -> Tensor:
        if task == "language_model":
            return cross_entropy(outputs_BK, inputs_1T[0, at_B + 1], reduction="none")
        if task in ("regress", "forecast"):
            return outputs_BK.sum(dim=1)
        return outputs_BK.log_softmax(dim=1).amax(dim=1)

    return Gradient(
        answer=name, positions=positions, layers=gradient_by_lag(network, inputs_1T, positions, lags, answer)
    )


def _norm(gradient_BH: Tensor | None) -> float:
    """Mean over rows; None is a state that the answer does not depend on."""
    return 0.0 if gradient_BH is None else _short(gradient_BH.norm(dim=1).mean().item())


@torch.no_grad()
def _states_before(network: Reader, inputs_1T: Tensor, begins: list[int]) -> list[Held]:
    """The states before each of these steps, side by side."""
    held, found = _zero(network, 1), []
    for x, starts in _steps(network, inputs_1T[:, : max(begins) + 1]):
        found.append(held)
        held = _after(network, x, _forgotten(held, starts))
    rows = [found[begin] for begin in begins]
    beside: list[Held] = []
    for layer, state in enumerate(held):
        h = torch.cat([row[layer].h for row in rows])
        c = None if state.c is None else torch.cat([c for row in rows if (c := row[layer].c) is not None])
        beside.append(Held(h, c))
    return beside


def _steps(network: Reader, inputs_BT: Tensor) -> Iterable[tuple[Tensor, Tensor | None]]:
    """What the first layer reads at each step, and which rows begin a document there."""
    x_BTI = inputs_BT if network.embedding is None else network.embedding(inputs_BT)
    boundary_id = network.boundary_id if isinstance(network, RecurrentNetwork) else None
    for t in range(x_BTI.shape[1]):
        yield x_BTI[:, t], None if boundary_id is None else inputs_BT[:, t] == boundary_id


def _zero(network: Reader, rows: int) -> list[Held]:
    model = network.model
    zero = network.output.weight.new_zeros(rows, model.hidden_size)
    return [Held(zero, zero if model.cell == "lstm" else None) for _ in range(model.num_layers)]


def _forgotten(held: list[Held], begins_B: Tensor | None) -> list[Held]:
    if begins_B is None or not begins_B.any():
        return held
    mask = begins_B[:, None]
    return [Held(h.masked_fill(mask, 0), None if c is None else c.masked_fill(mask, 0)) for h, c in held]


def _after(network: Reader, x: Tensor, before: list[Held]) -> list[Held]:
    """All layers behind one more step."""
    after: list[Held] = []
    for layer, state in enumerate(before):
        after.append(_cell(network, layer, x, state))
        x = after[-1].h
    return after


def _cell(network: Reader, layer: int, x: Tensor, before: Held) -> Held:
    model, w = network.model, network.recurrent.cell_weights(layer)
    if before.c is not None:
        return Held(*lstm_cell(x, before.h, before.c, w))
    if model.cell == "rnn":
        return Held(rnn_cell(x, before.h, w), None)
    return Held(gru_cell(x, before.h, w, reset_after=model.reset_after), None)


def _gates(network: Reader, layer: int, x: Tensor, before: Held) -> dict[str, Tensor]:
    model, w = network.model, network.recurrent.cell_weights(layer)
    if model.cell == "lstm":
        i, f, _, o = lstm_gates(x, before.h, w)
        return {"i": i, "f": f, "o": o}
    if model.cell == "gru":
        r, z, _ = gru_gates(x, before.h, w, reset_after=model.reset_after)
        return {"r": r, "z": z}
    return {}


def _units(trace: Trace, features: dict[str, NDArray[np.float64]], options: Options) -> list[UnitView]:
    """The units asked for, or those that follow a feature of the text most closely (without any: that vary most)."""
    followed: dict[tuple[int, int], tuple[str, float]] = {}
    rank: dict[tuple[int, int], float] = {}
    for layer in range(len(trace.hidden)):
        values_TH = trace.content(layer).double().numpy()
        deviations_H = values_TH.std(axis=0)
        for unit, deviation in enumerate(deviations_H):
            rank[layer, unit] = float(deviation) if not features else 0.0
        for name, feature_T in features.items():
            for unit, correlation in enumerate(_correlations(values_TH, feature_T)):
                if abs(correlation) > rank[layer, unit]:
                    rank[layer, unit] = abs(correlation)
                    followed[layer, unit] = (name, correlation)
    chosen = list(options.units) or sorted(rank, key=lambda unit: -rank[unit])[: options.num_units]
    views = []
    for layer, unit in chosen:
        name, correlation = followed.get((layer, unit), ("", 0.0))
        views.append(
            UnitView(
                layer=layer,
                unit=unit,
                feature=name or None,
                correlation=_short(correlation) if name else None,
                values=_list(trace.content(layer)[:, unit]),
                gates={gate: _list(values_TH[:, unit]) for gate, values_TH in trace.gates[layer].items()},
            )
        )
    return views


def _correlations(values_TH: NDArray[np.float64], feature_T: NDArray[np.float64]) -> list[float]:
    """Pearson's, of each unit with the feature; 0 where either is constant."""
    centred_TH, centred_T = values_TH - values_TH.mean(axis=0), feature_T - feature_T.mean()
    scale_H = np.sqrt((centred_TH**2).sum(axis=0) * (centred_T**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        found: list[float] = np.where(scale_H > 1e-12, centred_T @ centred_TH / scale_H, 0.0).tolist()
    return found


def _names(task: Task, encoding: Encoding) -> Callable[[int], str] | None:
    """How the ids that the network reads are shown; None where it reads numbers."""
    if encoding.vocabulary is not None:
        return encoding.vocabulary.name
    if encoding.inputs is None:
        return None
    if task == "generate":  # labels follow the symbols
        return (*encoding.tokens_written.tokens, *encoding.inputs.tokens).__getitem__
    return encoding.inputs.name


def _features(symbols: list[str]) -> dict[str, NDArray[np.float64]]:
    """What a unit might follow (Karpathy, Johnson & Li 2015): a number for each symbol read."""
    position_in_line, position_in_word, quoted = [], [], []
    line = word = 0
    is_quoted = False
    for symbol in symbols:
        line = 0 if symbol == "\n" else line + 1
        word = word + 1 if symbol.isalnum() else 0
        is_quoted ^= symbol == '"'
        position_in_line.append(line)
        position_in_word.append(word)
        quoted.append(is_quoted)
    found = {
        "position in line": position_in_line,
        "position in word": position_in_word,
        "inside quotes": quoted,
        "upper case": [symbol.isupper() for symbol in symbols],
        "line end": [symbol == "\n" for symbol in symbols],
        "blank": [symbol == " " for symbol in symbols],
        "punctuation": [not symbol.isalnum() and not symbol.isspace() for symbol in symbols],
    }
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def _check_units(network: Reader, units: tuple[tuple[int, int], ...]) -> None:
    model = network.model
    for number, (layer, unit) in enumerate(units):
        if not (0 <= layer < model.num_layers and 0 <= unit < model.hidden_size):
            raise InvalidInput(
                f"layer {layer}, unit {unit} does not exist; layers are 0 to {model.num_layers - 1}, "
                f"units 0 to {model.hidden_size - 1}",
                param=f"units[{number}]",
            )


def _list(values: Tensor) -> list[float]:
    return [_short(value) for value in values.tolist()]


def _short(value: float) -> float:
    """Four digits: what a picture shows."""
    return float(f"{value:.4g}")
