"""A network read step by step through its cells' own equations: all states and gates, which the fast paths hide.

Shapes: B rows, T steps, I input, C channels, H hidden.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rnncore.cells import gru_cell, gru_gates, lstm_cell, lstm_gates, rnn_cell
from rnncore.network import RecurrentNetwork
from rnncore.sequence_network import SequenceNetwork

Reader = RecurrentNetwork | SequenceNetwork


class Held(NamedTuple):
    """What one layer holds behind one step: h_BH, and c_BH of an LSTM."""

    h: Tensor
    c: Tensor | None


class Step(NamedTuple):
    """One step: what the first layer reads (x_BI), and what each layer holds before and behind it."""

    x: Tensor
    before: list[Held]
    held: list[Held]


class Trace(NamedTuple):
    """One row's layers over time, a list entry a layer: h_TH, c_TH of an LSTM, and each gate's values_TH."""

    hidden: list[Tensor]
    cell: list[Tensor | None]
    gates: list[dict[str, Tensor]]

    def content(self, layer: int) -> Tensor:
        """What the layer remembers with: c_TH of an LSTM, h_TH of the others."""
        cell = self.cell[layer]
        return self.hidden[layer] if cell is None else cell


@torch.no_grad()
def unroll(network: Reader, inputs_1T: Tensor) -> Trace:
    """Reads one row of ids (1 x T) or numbers (1 x T x C) from the zero state."""
    states, gates = [], []
    for x, before, held in steps_from(network, zero_state(network), inputs_1T):
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


def zero_state(network: Reader) -> list[Held]:
    """What the layers hold before the first step of one row."""
    model = network.model
    zero = network.output.weight.new_zeros(1, model.hidden_size)
    return [Held(zero, zero if model.cell == "lstm" else None) for _ in range(model.num_layers)]


def steps_from(network: Reader, held: list[Held], inputs_BT: Tensor) -> Iterator[Step]:
    """The steps through rows of ids (B x T) or numbers (B x T x C), from `held`; what begins a document forgets it."""
    x_BTI = inputs_BT if network.embedding is None else network.embedding(inputs_BT)
    boundary_id = network.boundary_id if isinstance(network, RecurrentNetwork) else None
    for t in range(x_BTI.shape[1]):
        before = held if boundary_id is None else _forgotten(held, inputs_BT[:, t] == boundary_id)
        held = _after(network, x_BTI[:, t], before)
        yield Step(x_BTI[:, t], before, held)


def _forgotten(held: list[Held], begins_B: Tensor) -> list[Held]:
    if not begins_B.any():
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
