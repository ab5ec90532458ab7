"""One step of each recurrent cell, as one reads it in the papers, in PyTorch's parameter layout.

Shapes: B batch, I input, H hidden, G gates (1, 4 or 3). x_BI, h_BH, w_ih_GI (G*H x I), w_hh_GH (G*H x H), b_G (G*H).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear


class CellWeights(NamedTuple):
    """Parameters of one layer, gates stacked: LSTM i f g o, GRU r z n."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor
    b_hh: Tensor


def rnn_cell(x_BI: Tensor, h_BH: Tensor, w: CellWeights) -> Tensor:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990). Returns h'_BH."""
    return torch.tanh(linear(x_BI, w.w_ih, w.b_ih) + linear(h_BH, w.w_hh, w.b_hh))


def lstm_gates(x_BI: Tensor, h_BH: Tensor, w: CellWeights) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input, forget, candidate and output gate i f g o of an LSTM, each B x H."""
    i, f, g, o = (linear(x_BI, w.w_ih, w.b_ih) + linear(h_BH, w.w_hh, w.b_hh)).chunk(4, dim=1)
    return torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)


def lstm_cell(x_BI: Tensor, h_BH: Tensor, c_BH: Tensor, w: CellWeights) -> tuple[Tensor, Tensor]:
    """c' = f*c + i*g, h' = o*tanh(c') (Hochreiter & Schmidhuber 1997; forget gate of Gers 2000). Returns (h', c')."""
    i, f, g, o = lstm_gates(x_BI, h_BH, w)
    c = f * c_BH + i * g
    return o * torch.tanh(c), c


def gru_gates(x_BI: Tensor, h_BH: Tensor, w: CellWeights, *, reset_after: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Reset gate r, update gate z and candidate n of a GRU, each B x H.

    n = tanh(W x + b + r*(U h + b')): reset after the recurrent product, as cuDNN does; or
    n = tanh(W x + b + U (r*h) + b'): before it (Cho 2014, equation 8).
    """
    x_r, x_z, x_n = linear(x_BI, w.w_ih, w.b_ih).chunk(3, dim=1)
    if reset_after:
        h_r, h_z, h_n = linear(h_BH, w.w_hh, w.b_hh).chunk(3, dim=1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        return r, z, torch.tanh(x_n + r * h_n)
    u, u_n = w.w_hh.tensor_split([2 * h_BH.shape[1]])
    b, b_n = w.b_hh.tensor_split([2 * h_BH.shape[1]])
    h_r, h_z = linear(h_BH, u, b).chunk(2, dim=1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    return r, z, torch.tanh(x_n + linear(r * h_BH, u_n, b_n))


def gru_cell(x_BI: Tensor, h_BH: Tensor, w: CellWeights, *, reset_after: bool = True) -> Tensor:
    """h' = (1-z)*n + z*h. Returns h'_BH.

    z is the share of the *old* state; Cho 2014, equation 7, weighs the same way, many lectures the other.
    """
    _, z, n = gru_gates(x_BI, h_BH, w, reset_after=reset_after)
    return (1 - z) * n + z * h_BH
