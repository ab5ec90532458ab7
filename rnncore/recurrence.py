"""Stacked recurrent layers through torch.nn's kernels.

Shapes: B batch, T time, I input, D hidden units of all directions.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnncore.spec import Cell, ModelSpec
from rnncore.state import State

_MODULES: dict[Cell, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def recurrent_layers(model: ModelSpec, input_size: int) -> nn.RNNBase:
    """The stack that `model` describes; parameters bear PyTorch's names."""
    return _MODULES[model.cell](
        input_size,
        model.hidden_size,
        model.num_layers,
        dropout=model.dropout if model.num_layers > 1 else 0.0,
        batch_first=True,
        bidirectional=model.bidirectional,
    )


def read_ragged(layers: nn.RNNBase, x_BTI: Tensor, lengths_B: Tensor) -> tuple[Tensor, State]:
    """Hidden_BTD, zero behind each row's end, and the state where each row ends; backwards from there too."""
    packed: Any = pack_padded_sequence(x_BTI, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
    out, state = layers(packed)
    return pad_packed_sequence(out, batch_first=True, total_length=x_BTI.shape[1])[0], state
