"""Several language models of one shape as one, which read the same symbols: one batched product for all of theirs.

Shapes: J networks, B batch, T time, E embedding, H hidden, G gates, V vocabulary. A state is layers x J x B x H.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnncore.kernels import LstmKernel
from rnncore.network import RecurrentNetwork, by_document
from rnncore.state import State

Dropout = Callable[[Tensor], Tensor]


class FusedNetwork:
    """What each of `networks` computes, with a parameter of all of them in one tensor, stacked in their order.

    `drop` is dropout for each network: as in its own, given x_JTBH between layers and x_JBTH, laid out as it comes,
    behind the last.
    """

    def __init__(self, networks: list[RecurrentNetwork], drop: Dropout) -> None:
        first = networks[0]
        self._num_layers = first.model.num_layers
        self._is_lstm = first.model.cell == "lstm"
        self._kernel: Any = LstmKernel if self._is_lstm else first.recurrent.kernel
        self._boundary_id = first.boundary_id
        self._drop = drop
        self.parameters = {name: _stacked(networks, name) for name, _ in first.named_parameters()}
        self._output_weight = "embedding.weight" if first.model.tie_weights else "output.weight"

    def __call__(self, ids_BT: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Logits_JTBV of the symbol after each one of `ids_BT`, and the state after the last."""
        hidden_JBTH, state = by_document(
            ids_BT, self._boundary_id, state, lambda steps, state: self._recurrent(ids_BT[:, steps], state)
        )
        hidden_JTBH = self._drop(hidden_JBTH).transpose(1, 2)
        return self._linear(hidden_JTBH, self._output_weight, "output.bias"), state

    def _recurrent(self, ids_BT: Tensor, state: State) -> tuple[Tensor, State]:
        """Hidden_JBTH of the last layer, and the state behind the last step."""
        x_JTBH = self._inputs(ids_BT)
        ends: list[tuple[Tensor, ...]] = []
        for layer in range(self._num_layers):
            if layer:
                x_JTBH = self._linear(
                    self._drop(x_JTBH), f"recurrent.weight_ih_l{layer}", f"recurrent.bias_ih_l{layer}"
                )
            w_hh, b_hh = (self.parameters[f"recurrent.{name}_hh_l{layer}"] for name in ("weight", "bias"))
            before = self._before(layer, state, x_JTBH)
            if self._is_lstm:
                x_JTBH, c_JBH = self._kernel.apply(x_JTBH, *before, w_hh, b_hh)
                ends.append((x_JTBH[:, -1], c_JBH))
            else:
                x_JTBH = self._kernel.apply(x_JTBH, *before, w_hh, b_hh)
                ends.append((x_JTBH[:, -1],))
        after = tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
        return x_JTBH.transpose(1, 2), (after[0], after[1]) if self._is_lstm else after[0]

    def _inputs(self, ids_BT: Tensor) -> Tensor:
        """xg_JTBG of the first layer. Where symbols come more than once, each one's product is made once."""
        (batch, steps), ids = ids_BT.shape, ids_BT.t().flatten()
        embedding = self.parameters["embedding.weight"]
        names = "recurrent.weight_ih_l0", "recurrent.bias_ih_l0"
        if embedding.shape[1] < len(ids):
            rows = self._linear(embedding, *names).index_select(1, ids)
        else:
            rows = self._linear(embedding.index_select(1, ids), *names)
        return rows.view(len(rows), steps, batch, -1)

    def _linear(self, x: Tensor, weight: str, bias: str) -> Tensor:
        """x_J..K W^T + b, each network by its own."""
        w, b = self.parameters[weight], self.parameters[bias]
        flat = x.flatten(1, -2)
        return torch.baddbmm(b[:, None], flat, w.mT).view(*x.shape[:-1], -1)

    def _before(self, layer: int, state: State, xg_JTBG: Tensor) -> tuple[Tensor, ...]:
        """h_JBH of one layer, for an LSTM h_JBH and c_JBH."""
        if state is None:
            networks, _, batch, _ = xg_JTBG.shape
            hidden = self.parameters["recurrent.weight_hh_l0"].shape[-1]
            return (xg_JTBG.new_zeros(networks, batch, hidden),) * (1 + self._is_lstm)
        return (state[0][layer], state[1][layer]) if isinstance(state, tuple) else (state[layer],)


@torch.no_grad()
def _stacked(networks: list[RecurrentNetwork], name: str) -> Tensor:
    """The parameters of this name in one tensor, of which those of the networks are views from now on."""
    own = [network.get_parameter(name) for network in networks]
    stacked = torch.stack([parameter.detach() for parameter in own])
    for parameter, row in zip(own, stacked, strict=True):
        parameter.data = row
    return stacked.requires_grad_()
