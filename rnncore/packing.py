"""The weights of a language model's network, packed once for running it forward. Holds no state of any text.

Hidden sizes are padded with zeros: then every elementwise operation runs through whole vectors, whose bits depend on no
place, and the padded units stay zero. Shapes: B rows, E embedding, H hidden (padded), G gates, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from rnncore.cells import CellWeights
from rnncore.network import RecurrentNetwork
from rnncore.products import Precision, Product, agreed_sizes

State = Sequence[Tensor]  # of one layer: h_BH, and an LSTM's c_BH

_LANES = 32  # elementwise operations of PyTorch take so many float32 at a time; a rest goes through other code


class PackedLayer:
    """One recurrent layer. `gates_above` are its inputs' part of the gates, `advance` does the step in place."""

    def __init__(self, w: CellWeights, *, precision: Precision, hidden: int) -> None:
        self.hidden = hidden
        self._precision = precision
        w_ih, w_hh, b_ih, b_hh = (_padded_gates(tensor, w.w_hh.shape[1], hidden) for tensor in w)
        self._w_ih_GI, self.b_G = self.arranged(w_ih), self.arranged(b_ih + self.bias_of_inputs(b_hh))
        self.recurrent = self.recurrent_products(self.arranged(_padded_inputs(w_hh, hidden)), self.arranged(b_hh))
        self.input: Product | None = None

    def arranged(self, gates_G: Tensor) -> Tensor:
        """The rows of a parameter in the order in which this layer computes its gates."""
        return gates_G

    def bias_of_inputs(self, b_G: Tensor) -> Tensor:
        """What of b_hh may be added to the inputs' part already."""
        return b_G

    def recurrent_products(self, w_hh_GH: Tensor, b_hh_G: Tensor) -> tuple[Product, ...]:
        """The products that wait for the state."""
        del b_hh_G
        return (Product(w_hh_GH, precision=self._precision),)

    def read_symbols(self, embedding_VE: Tensor) -> Tensor:
        """As the lowest layer: the inputs' part of the gates for each symbol."""
        return torch.addmm(self.b_G, embedding_VE, self._w_ih_GI.t())

    def read_layer(self) -> None:
        """As a layer above another: makes its product of inputs."""
        self.input = Product(_padded_inputs(self._w_ih_GI, self.hidden), self.b_G, precision=self._precision)

    def advance(self, xg_BG: Tensor, state: State) -> None:
        """One step of one block of rows: writes h_BH, and an LSTM's c_BH, of `state`; `xg_BG` is only read."""
        raise NotImplementedError


class PackedRnn(PackedLayer):
    """`rnn_cell`."""

    def advance(self, xg_BG: Tensor, state: State) -> None:
        (h_BH,) = state
        torch.tanh(self.recurrent[0].plus(h_BH, xg_BG), out=h_BH)


class PackedLstm(PackedLayer):
    """`lstm_cell`, gates in the order i f o g: the sigmoids stand side by side."""

    def arranged(self, gates_G: Tensor) -> Tensor:
        i, f, g, o = gates_G.chunk(4)
        return torch.cat([i, f, o, g])

    def advance(self, xg_BG: Tensor, state: State) -> None:
        h_BH, c_BH = state
        gates_BG = self.recurrent[0].plus(h_BH, xg_BG)
        gates_BG.narrow(1, 0, 3 * self.hidden).sigmoid_()
        i, f, o, g = gates_BG.chunk(4, 1)
        c_BH.mul_(f).addcmul_(i, g.tanh_())
        torch.tanh(c_BH, out=h_BH).mul_(o)


class PackedGru(PackedLayer):
    """`gru_cell`, reset after the product."""

    def bias_of_inputs(self, b_G: Tensor) -> Tensor:
        return torch.cat([b_G[: 2 * self.hidden], torch.zeros_like(b_G[2 * self.hidden :])])

    def recurrent_products(self, w_hh_GH: Tensor, b_hh_G: Tensor) -> tuple[Product, ...]:
        return (Product(w_hh_GH, b_hh_G - self.bias_of_inputs(b_hh_G), precision=self._precision),)

    def advance(self, xg_BG: Tensor, state: State) -> None:
        (h_BH,) = state
        gates_BG, rz = self.recurrent[0](h_BH), 2 * self.hidden
        gates_BG.narrow(1, 0, rz).add_(xg_BG.narrow(1, 0, rz)).sigmoid_()
        r, z, n = gates_BG.chunk(3, 1)
        n.mul_(r).add_(xg_BG.narrow(1, rz, self.hidden)).tanh_()
        torch.lerp(n, h_BH, z, out=h_BH)


class PackedGruBefore(PackedLayer):
    """`gru_cell` with `reset_after=False`: the candidate's product waits for the reset gate."""

    def recurrent_products(self, w_hh_GH: Tensor, b_hh_G: Tensor) -> tuple[Product, ...]:
        del b_hh_G
        return tuple(Product(part, precision=self._precision) for part in w_hh_GH.tensor_split([2 * self.hidden]))

    def advance(self, xg_BG: Tensor, state: State) -> None:
        (h_BH,) = state
        rz = 2 * self.hidden
        r, z = self.recurrent[0](h_BH).add_(xg_BG.narrow(1, 0, rz)).sigmoid_().chunk(2, 1)
        n = self.recurrent[1](r * h_BH).add_(xg_BG.narrow(1, rz, self.hidden)).tanh_()
        torch.lerp(n, h_BH, z, out=h_BH)


class PackedNetwork:
    """What a network computes in evaluation mode: a table for the symbols, layers, and the output's product.

    The logits are made in float32 in every precision: their matrix is small, and a rounded logit would weigh.
    """

    def __init__(self, network: RecurrentNetwork, *, precision: Precision) -> None:
        model = network.model
        kinds = {"rnn": PackedRnn, "lstm": PackedLstm, "gru": PackedGru if model.reset_after else PackedGruBefore}
        self.hidden_size = model.hidden_size
        self.hidden = -(-model.hidden_size // _LANES) * _LANES
        self.layers = [
            kinds[model.cell](
                CellWeights(*(tensor.detach().float() for tensor in network.recurrent.cell_weights(layer))),
                precision=precision,
                hidden=self.hidden,
            )
            for layer in range(model.num_layers)
        ]
        self.table_VG = self.layers[0].read_symbols(network.embedding.weight.detach().float())
        for layer in self.layers[1:]:
            layer.read_layer()
        self.output = Product(_padded_inputs(network.output.weight.detach(), self.hidden), network.output.bias)
        self.num_parts = model.num_layers * (2 if model.cell == "lstm" else 1)
        products = [product for layer in self.layers for product in (*layer.recurrent, layer.input) if product]
        self.sizes = agreed_sizes([*products, self.output])
        self.num_bytes = self.table_VG.nbytes + sum(product.num_bytes for product in [*products, self.output])

    def states(self, parts_PBH: Tensor) -> list[State]:
        """Of each layer, as views of the parts: h of each layer, then an LSTM's c of each."""
        return [parts_PBH[layer :: len(self.layers)].unbind() for layer in range(len(self.layers))]

    def parts(self, states_BS: Tensor, num_rows: int) -> Tensor:
        """The flat states as parts_PBH, a copy, with zeros up to `num_rows` rows."""
        parts_PBH = states_BS.new_zeros(self.num_parts, num_rows, self.hidden)
        given_BPH = states_BS.view(-1, self.num_parts, self.hidden_size)
        parts_PBH[:, : len(states_BS), : self.hidden_size] = given_BPH.transpose(0, 1)
        return parts_PBH

    def flat(self, parts_PBH: Tensor) -> Tensor:
        """The inverse of `parts`: states_BS, a copy."""
        return parts_PBH[:, :, : self.hidden_size].transpose(0, 1).flatten(1)


def _padded_gates(gates: Tensor, hidden_size: int, hidden: int) -> Tensor:
    """Rows of zeros behind each gate's."""
    by_gate = gates.view(-1, hidden_size, *gates.shape[1:]).movedim(1, -1)
    return pad(by_gate, (0, hidden - hidden_size)).movedim(-1, 1).flatten(0, 1)


def _padded_inputs(weight: Tensor, hidden: int) -> Tensor:
    return pad(weight, (0, hidden - weight.shape[1]))
