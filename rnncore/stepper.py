"""One symbol at a time from a trained network, without what training needs: no autograd, no repacking of weights.

Shapes: B rows, T time, V vocabulary.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnncore.cells import CellWeights, gru_cell, lstm_cell, rnn_cell
from rnncore.network import RecurrentNetwork
from rnncore.state import State, zero_rows


class Stepper:
    """Reads prompts through the fast path and goes on step by step through the hand-written cells, in float32."""

    def __init__(self, network: RecurrentNetwork) -> None:
        self._network = network
        layers = network.recurrent
        self._layers = [
            CellWeights(*(tensor.detach() for tensor in layers.cell_weights(layer)))
            for layer in range(network.model.num_layers)
        ]

    @torch.no_grad()
    def read(self, ids_BT: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Logits_BV after the last of `ids_BT` (int64, T >= 1), and the state there."""
        was_training = self._network.training
        self._network.eval()
        try:
            logits_BTV, state = self._network(ids_BT, state)
        finally:
            self._network.train(was_training)
        return logits_BTV[:, -1].float(), state

    @torch.no_grad()
    def step(self, ids_B: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits_BV after one more symbol a row, and the new state."""
        if (boundary_id := self._network.boundary_id) is not None:
            state = zero_rows(state, ids_B == boundary_id)
        x = self._network.embedding(ids_B)
        if isinstance(state, tuple):
            hidden, cell = [], []
            for layer, w in enumerate(self._layers):
                x, c = lstm_cell(x, state[0][layer], state[1][layer], w)
                hidden.append(x)
                cell.append(c)
            after: State = (torch.stack(hidden), torch.stack(cell))
        else:
            assert state is not None, "read at least one symbol before stepping"
            model, hidden = self._network.model, []
            for layer, w in enumerate(self._layers):
                h = state[layer]
                x = rnn_cell(x, h, w) if model.cell == "rnn" else gru_cell(x, h, w, reset_after=model.reset_after)
                hidden.append(x)
            after = torch.stack(hidden)
        return linear(x, self._network.output.weight, self._network.output.bias), after
