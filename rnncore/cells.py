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


def lstm_cell(x_BI: Tensor, h_BH: Tensor, c_BH: Tensor, w: CellWeights) -> tuple[Tensor, Tensor]:
    """c' = f*c + i*g, h' = o*tanh(c') (Hochreiter & Schmidhuber 1997; forget gate of Gers 2000). Returns (h', c')."""
    i, f, g, o = (linear(x_BI, w.w_ih, w.b_ih) + linear(h_BH, w.w_hh, w.b_hh)).chunk(4, dim=1)
    c = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_cell(x_BI: Tensor, h_BH: Tensor, w: CellWeights) -> Tensor:
    """h' = (1-z)*n + z*h, n = tanh(W x + b + r*(U h + b')): reset after the product (cuDNN; Cho 2014). Returns h'_BH.

    z is the share of the *old* state; Cho 2014, equation 7, weighs the same way, many lectures the other.
    """
    from_x = linear(x_BI, w.w_ih, w.b_ih).chunk(3, dim=1)
    from_h = linear(h_BH, w.w_hh, w.b_hh).chunk(3, dim=1)
    r = torch.sigmoid(from_x[0] + from_h[0])
    z = torch.sigmoid(from_x[1] + from_h[1])
    n = torch.tanh(from_x[2] + r * from_h[2])
    return (1 - z) * n + z * h_BH
