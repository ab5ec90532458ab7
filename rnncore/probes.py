"""Looks inside a trained network: what it was surprised by, what its gates do, how long it remembers.

Gates and states are those of `unrolled`. Shapes: T steps, C channels, H hidden, V symbols.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnncore.encoding import Encoding
from rnncore.errors import InvalidInput
from rnncore.gradients import gradient
from rnncore.inspection import (
    Alternative,
    Inspection,
    LayerView,
    Saturation,
    SymbolView,
    WindowLoss,
    short,
    shortened,
)
from rnncore.network import RecurrentNetwork
from rnncore.spec import Task
from rnncore.units import unit_views
from rnncore.unrolled import Reader, Trace, unroll

MAX_STEPS = 4096
_CLOSED, _OPEN = 0.1, 0.9


class Options(NamedTuple):
    """How much to show: alternatives of each symbol, ranked units, lags; `units` asks for (layer, unit) by name."""

    top: int = 3
    num_units: int = 8
    units: tuple[tuple[int, int], ...] = ()
    lags: int = 100
    window: int = 64


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
                memory=[None if math.isinf(steps) else short(steps) for steps in memory_lengths(network, trace, layer)],
            )
            for layer, gates in enumerate(trace.gates)
        ],
        units=unit_views(trace, symbols, chosen=options.units, most=options.num_units),
        gradient=gradient(network, task, read, options.lags),
        window_loss=loss,
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
            Alternative(symbol=name(i), probability=short(math.exp(p)))
            for i, p in zip(best.indices[t].tolist(), best.values[t].tolist(), strict=True)
        ]
        nats = max(0.0, -log_p_TV[t, following].item())
        views.append(SymbolView(symbol=name(following), surprisal=short(nats), top=alternatives))
    return views


def saturation(values_TH: Tensor) -> Saturation:
    """Shares of the steps at which each unit's gate is below 0.1 and above 0.9 (Karpathy, Johnson & Li 2015)."""
    return Saturation(below=_mean(values_TH < _CLOSED), above=_mean(values_TH > _OPEN))


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
        fresh=_mean(fresh.view(number, window)),
        carried=_mean(torch.stack(carried)),
    )


def _names(task: Task, encoding: Encoding) -> Callable[[int], str] | None:
    """How the ids that the network reads are shown; None where it reads numbers."""
    if encoding.vocabulary is not None:
        return encoding.vocabulary.name
    if encoding.inputs is None:
        return None
    if task == "generate":  # labels follow the symbols
        return (*encoding.tokens_written.tokens, *encoding.inputs.tokens).__getitem__
    return encoding.inputs.name


def _check_units(network: Reader, units: tuple[tuple[int, int], ...]) -> None:
    model = network.model
    for number, (layer, unit) in enumerate(units):
        if not (0 <= layer < model.num_layers and 0 <= unit < model.hidden_size):
            raise InvalidInput(
                f"layer {layer}, unit {unit} does not exist; layers are 0 to {model.num_layers - 1}, "
                f"units 0 to {model.hidden_size - 1}",
                param=f"units[{number}]",
            )


def _mean(values: Tensor) -> list[float]:
    """Over the first dimension."""
    return shortened(values.float().mean(dim=0).tolist())
