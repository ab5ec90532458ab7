"""Stacked recurrent layers: the LSTM by torch.nn, RNN and GRU by `rnncore.kernels`, all by cuDNN where a GPU is.

Shapes: B batch, T time, I input, H hidden, D hidden units of all directions. A state is layers*directions x B x H.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnncore.cells import CellWeights
from rnncore.kernels import GruBeforeKernel, GruKernel, RnnKernel
from rnncore.spec import ModelSpec
from rnncore.state import State


class Layers(nn.RNNBase):
    """A stack of one cell, its parameters named as torch.nn names them."""

    kernel: ClassVar[Any] = None
    has_cudnn: ClassVar[bool] = True

    def forward(self, x_BTI: Tensor, state: State = None, lengths_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Hidden_BTD and the state behind the last step; None is the zero state.

        Given lengths, hidden is zero behind each row's end, the state is the one there, and backwards is from there.
        """
        if self.kernel is None or (x_BTI.is_cuda and self.has_cudnn):
            return self._by_torch(x_BTI, state, lengths_B)
        assert not isinstance(state, tuple)
        return self._by_kernel(x_BTI, state, lengths_B)

    def cell_weights(self, layer: int, *, backwards: bool = False) -> CellWeights:
        """The parameters of one layer and direction."""
        suffix = f"l{layer}_reverse" if backwards else f"l{layer}"
        return CellWeights(
            *(getattr(self, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        )

    def _by_torch(self, x_BTI: Tensor, state: State, lengths_B: Tensor | None) -> tuple[Tensor, State]:
        if lengths_B is None:
            return super().forward(x_BTI, state)  # type: ignore[no-any-return]  # of nn.RNN, nn.LSTM or nn.GRU
        packed = pack_padded_sequence(x_BTI, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
        out, state = super().forward(packed, state)
        return pad_packed_sequence(out, batch_first=True, total_length=x_BTI.shape[1])[0], state

    def _by_kernel(self, x_BTI: Tensor, state: Tensor | None, lengths_B: Tensor | None) -> tuple[Tensor, Tensor]:
        x_TBI, (batch, steps) = x_BTI.transpose(0, 1), x_BTI.shape[:2]
        backwards_TB, rows_B = _backwards(steps, batch, lengths_B, x_BTI.device), torch.arange(batch)
        ends_B = torch.full((batch,), steps - 1) if lengths_B is None else lengths_B - 1
        last: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer:
                x_TBI = dropout(x_TBI, self.dropout, self.training)
            both = []
            for backwards in (False, True)[: 1 + self.bidirectional]:
                w = self.cell_weights(layer, backwards=backwards)
                read = x_TBI[backwards_TB, rows_B] if backwards else x_TBI
                h_BH = w.w_hh.new_zeros(batch, self.hidden_size) if state is None else state[len(last)].to(w.w_hh.dtype)
                # The one large product may be made in bf16; what is summed over time stays in the weights' precision.
                h_TBH = self.kernel.apply(linear(read, w.w_ih, w.b_ih).to(w.w_hh.dtype), h_BH, w.w_hh, w.b_hh)
                last.append(h_TBH[ends_B, rows_B])
                both.append(h_TBH[backwards_TB, rows_B] if backwards else h_TBH)
            x_TBI = torch.cat(both, dim=2) if self.bidirectional else both[0]
        hidden_BTD = x_TBI.transpose(0, 1)
        if lengths_B is not None:
            hidden_BTD = hidden_BTD * (torch.arange(steps, device=x_BTI.device) < lengths_B[:, None])[:, :, None]
        return hidden_BTD, torch.stack(last)


class RnnLayers(Layers, nn.RNN):  # type: ignore[misc]  # lengths are ours
    """`rnn_cell`."""

    kernel = RnnKernel


class LstmLayers(Layers, nn.LSTM):  # type: ignore[misc]  # lengths are ours
    """`lstm_cell`; oneDNN's kernel for CPUs is as fast as the machine."""


class GruLayers(Layers, nn.GRU):  # type: ignore[misc]  # lengths are ours
    """`gru_cell`."""

    kernel = GruKernel


class GruBeforeLayers(Layers, nn.GRU):  # type: ignore[misc]  # lengths are ours
    """`gru_cell` with `reset_after=False`, which neither torch.nn nor cuDNN has."""

    kernel = GruBeforeKernel
    has_cudnn = False


def recurrent_layers(model: ModelSpec, input_size: int) -> Layers:
    """The stack that `model` describes."""
    kinds: dict[str, type[Layers]] = {"rnn": RnnLayers, "lstm": LstmLayers, "gru": GruLayers}
    kind: Any = kinds[model.cell] if model.reset_after else GruBeforeLayers
    return kind(  # type: ignore[no-any-return]  # each takes what its class of torch.nn does
        input_size,
        model.hidden_size,
        model.num_layers,
        dropout=model.dropout if model.num_layers > 1 else 0.0,
        batch_first=True,
        bidirectional=model.bidirectional,
    )


def _backwards(steps: int, batch: int, lengths_B: Tensor | None, device: torch.device) -> Tensor:
    """Which step each row reads at each step when it reads from its end to its beginning; padding stays in place."""
    at_TB = torch.arange(steps, device=device)[:, None].expand(steps, batch)
    if lengths_B is None:
        return at_TB.flip(0)
    return torch.where(at_TB < lengths_B, lengths_B - 1 - at_TB, at_TB)
