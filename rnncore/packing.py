"""The weights of what writes in a network, packed once for running it forward. Holds no state of any text.

Hidden and vocabulary sizes are padded with zeros: then every operation runs through whole vectors, whose bits depend on
no place, and the padded units stay zero.
Shapes: B rows, P parts of a state, S flat state, I inputs, H hidden (padded), G gates, V vocabulary (padded).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from rnncore.cells import CellWeights
from rnncore.network import Decoder
from rnncore.products import LANES, Precision, Product, agreed_sizes

State = Sequence[Tensor]  # of one layer: h_BH, and an LSTM's c_BH
Buffers = Sequence[Tensor]  # of one block of rows; what stands in them between two steps means nothing

# Units; below, oneDNN takes longer to begin than to multiply. It also makes the products in bfloat16.
_ONEDNN_FROM = 192


class PackedLayer:
    """One recurrent layer: its weights as it computes with them, and its step in place."""

    num_gates: int

    def __init__(self, w: CellWeights, *, precision: Precision, by_onednn: bool) -> None:
        self.hidden = _rounded_up(w.w_hh.shape[1])
        self._precision, self._by_onednn = precision, by_onednn
        w_ih, w_hh, b_ih, b_hh = (
            self.arranged(_padded_gates(parameter, self.num_gates, self.hidden)) for parameter in w
        )
        self.w_ih_GI, self.b_hh_G = w_ih, self.late(b_hh)
        self.b_ih_G = b_ih + (b_hh - self.b_hh_G)
        self.recurrent = [self.product(part) for part in self.parted(_padded_inputs(w_hh, self.hidden))]
        self.input: Product | None = None

    def product(self, weight: Tensor) -> Product:
        """A product as this layer's are."""
        return Product(weight, precision=self._precision, by_onednn=self._by_onednn)

    def arranged(self, gates_G: Tensor) -> Tensor:
        """A parameter, its rows by gate, as this layer computes with it."""
        return gates_G

    def late(self, b_hh_G: Tensor) -> Tensor:
        """What of b_hh cannot be added to the inputs' part of the gates."""
        return torch.zeros_like(b_hh_G)

    def parted(self, w_hh_GH: Tensor) -> Sequence[Tensor]:
        """What of w_hh is multiplied at once."""
        return (w_hh_GH,)

    def read_layer(self) -> None:
        """Makes the product of inputs of a layer above another."""
        self.input = self.product(_padded_inputs(self.w_ih_GI, self.hidden))

    def buffers(self, num_rows: int) -> Buffers:
        """What `advance` computes in, with its parts."""
        return (self.w_ih_GI.new_zeros(num_rows, self.num_gates * self.hidden),)

    def advance(self, xg_BG: Tensor, state: State, buffers: Buffers) -> None:
        """One step of one block of rows, in place. The inputs' part of the gates, `xg_BG`, is only read."""
        raise NotImplementedError


class PackedRnn(PackedLayer):
    """`rnn_cell`."""

    num_gates = 1

    def advance(self, xg_BG: Tensor, state: State, buffers: Buffers) -> None:
        (h_BH,), (gates,) = state, buffers
        torch.tanh(self.recurrent[0](h_BH, xg_BG, gates), out=h_BH)


class PackedLstm(PackedLayer):
    """`lstm_cell` with one sigmoid for all gates: tanh(x) = 2 sigmoid(2x) - 1, which is several times as fast."""

    num_gates = 4

    def arranged(self, gates_G: Tensor) -> Tensor:
        i, f, g, o = gates_G.chunk(4)
        return torch.cat([i, f, 2 * g, o])

    def buffers(self, num_rows: int) -> Buffers:
        (gates,) = super().buffers(num_rows)
        return (gates, *gates.chunk(4, dim=1))

    def advance(self, xg_BG: Tensor, state: State, buffers: Buffers) -> None:
        (h_BH, c_BH), (gates, i, f, g, o) = state, buffers
        self.recurrent[0](h_BH, xg_BG, gates).sigmoid_()
        c_BH.mul_(f).addcmul_(i, g, value=2).sub_(i)
        torch.tanh(c_BH, out=h_BH).mul_(o)


class PackedGru(PackedLayer):
    """`gru_cell`, reset after the product."""

    num_gates = 3

    def late(self, b_hh_G: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(b_hh_G[: 2 * self.hidden]), b_hh_G[2 * self.hidden :]])

    def buffers(self, num_rows: int) -> Buffers:
        (gates,) = super().buffers(num_rows)
        return (gates, gates[:, : 2 * self.hidden], *gates.chunk(3, dim=1))

    def advance(self, xg_BG: Tensor, state: State, buffers: Buffers) -> None:
        (h_BH,), (gates, sigmoids, r, z, n) = state, buffers
        self.recurrent[0](h_BH, self.b_hh_G, gates)
        sigmoids.add_(xg_BG.narrow(1, 0, 2 * self.hidden)).sigmoid_()
        n.mul_(r).add_(xg_BG.narrow(1, 2 * self.hidden, self.hidden)).tanh_()
        torch.lerp(n, h_BH, z, out=h_BH)


class PackedGruBefore(PackedLayer):
    """`gru_cell` with `reset_after=False`: the candidate's product waits for the reset gate."""

    num_gates = 3

    def parted(self, w_hh_GH: Tensor) -> Sequence[Tensor]:
        return w_hh_GH.tensor_split([2 * self.hidden])

    def buffers(self, num_rows: int) -> Buffers:
        sigmoids, n, reset = (self.w_ih_GI.new_zeros(num_rows, parts * self.hidden) for parts in (2, 1, 1))
        return (sigmoids, *sigmoids.chunk(2, dim=1), n, reset)

    def advance(self, xg_BG: Tensor, state: State, buffers: Buffers) -> None:
        (h_BH,), (sigmoids, r, z, n, reset) = state, buffers
        self.recurrent[0](h_BH, xg_BG.narrow(1, 0, 2 * self.hidden), sigmoids).sigmoid_()
        torch.mul(r, h_BH, out=reset)
        self.recurrent[1](reset, xg_BG.narrow(1, 2 * self.hidden, self.hidden), n).tanh_()
        torch.lerp(n, h_BH, z, out=h_BH)


class PackedNetwork:
    """What a decoder computes in evaluation mode: a table for the symbols, layers, and the output's product.

    Where precision is bf16, the products of layers are, if they are large enough to gain by it. The table and the
    logits are float32: a rounded logit would weigh, and both cost little.
    """

    def __init__(self, decoder: Decoder, *, precision: Precision) -> None:
        model = decoder.model
        kinds = {"rnn": PackedRnn, "lstm": PackedLstm, "gru": PackedGru if model.reset_after else PackedGruBefore}
        by_onednn = model.hidden_size >= _ONEDNN_FROM
        self.layers = [
            kinds[model.cell](
                CellWeights(*(parameter.detach().float() for parameter in decoder.layers.cell_weights(layer))),
                precision=precision if by_onednn else "fp32",
                by_onednn=by_onednn,
            )
            for layer in range(model.num_layers)
        ]
        for layer in self.layers[1:]:
            layer.read_layer()
        lowest = self.layers[0]
        self.boundary_id = decoder.boundary_id
        self.hidden_size, self.hidden = model.hidden_size, lowest.hidden
        self.num_parts = model.num_layers * (2 if model.cell == "lstm" else 1)
        self.table_VG = torch.addmm(lowest.b_ih_G, decoder.embedding.weight.detach().float(), lowest.w_ih_GI.t())
        self.vocabulary_size = decoder.output.out_features
        spare = _rounded_up(self.vocabulary_size) - self.vocabulary_size
        self.bias_V = pad(decoder.output.bias.detach().float(), (0, spare))
        weight_VH = pad(_padded_inputs(decoder.output.weight.detach(), self.hidden), (0, 0, 0, spare))
        self.output = Product(weight_VH, precision="fp32", by_onednn=by_onednn)
        products = [self.output, *(p for layer in self.layers for p in (*layer.recurrent, layer.input) if p)]
        self.sizes = agreed_sizes(products)
        self.num_bytes = self.table_VG.nbytes + sum(product.num_bytes for product in products)

    def states(self, parts_PBH: Tensor) -> list[State]:
        """Of each layer, as views of the parts: h of each layer, then an LSTM's c of each."""
        return [parts_PBH[layer :: len(self.layers)].unbind() for layer in range(len(self.layers))]

    def parts(self, states_BS: Tensor, num_rows: int) -> Tensor:
        """The flat states as parts_PBH, a copy, with zeros up to `num_rows` rows."""
        parts_PBH = states_BS.new_zeros(self.num_parts, num_rows, self.hidden)
        given_BPH = states_BS.reshape(-1, self.num_parts, self.hidden_size)
        parts_PBH[:, : len(states_BS), : self.hidden_size] = given_BPH.transpose(0, 1)
        return parts_PBH

    def flat(self, parts_PBH: Tensor) -> Tensor:
        """The inverse of `parts`: states_BS, a copy."""
        return parts_PBH[:, :, : self.hidden_size].transpose(0, 1).flatten(1)


def _rounded_up(size: int) -> int:
    return -(-size // LANES) * LANES


def _padded_gates(parameter: Tensor, num_gates: int, hidden: int) -> Tensor:
    """Rows of zeros behind each gate's."""
    return torch.cat([pad(gate.t(), (0, hidden - len(gate))).t() for gate in parameter.chunk(num_gates)])


def _padded_inputs(weight: Tensor, hidden: int) -> Tensor:
    return pad(weight, (0, hidden - weight.shape[1]))
