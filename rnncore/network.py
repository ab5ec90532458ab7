"""The language model: embedding -> stacked recurrent layers -> logits, through torch.nn's fast paths.

Shapes: B batch, T time, E embedding, H hidden, V vocabulary.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnncore.encoding import Encoding
from rnncore.recurrence import Layers, recurrent_layers
from rnncore.spec import ModelSpec
from rnncore.state import State, zero_rows


class Decoder(NamedTuple):
    """What of a network writes: it reads symbols in one direction, and scores what may follow each.

    The symbols that it reads need not be those that it scores.
    """

    model: ModelSpec
    embedding: nn.Embedding
    layers: Layers
    output: nn.Linear
    boundary_id: int | None = None


class Network(nn.Module):
    """What the network of every task has: the ModelSpec that it was made from."""

    model: ModelSpec

    def tie_weights(self) -> None:
        """Makes output and embedding one parameter again, where `model.tie_weights` asks for it."""

    def as_decoder(self) -> Decoder:
        """The part of it that writes, with its very parameters."""
        raise NotImplementedError


class RecurrentNetwork(Network):
    """Embedding -> RNN, LSTM or GRU -> dropout -> linear, W_hh initialised orthogonal per gate, W_ih Glorot.

    Before it reads the symbol `boundary_id`, which begins a document, a row forgets the one before.
    """

    def __init__(self, model: ModelSpec, *, vocabulary_size: int, boundary_id: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.vocabulary_size = vocabulary_size
        self.boundary_id = boundary_id
        self.embedding = nn.Embedding(vocabulary_size, model.embedding_size)
        self.recurrent = recurrent_layers(model, model.embedding_size)
        self.dropout = nn.Dropout(model.dropout)
        self.output = nn.Linear(model.hidden_size, vocabulary_size)
        # Tied, the embedding also makes the logits, which must start small.
        nn.init.normal_(self.embedding.weight, std=model.hidden_size**-0.5 if model.tie_weights else 1.0)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        initialise_recurrent(self.recurrent, model)
        self.tie_weights()

    def tie_weights(self) -> None:
        if self.model.tie_weights:
            self.output.weight = self.embedding.weight

    def forward(self, ids_BT: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Logits_BTV of the symbol after each one of `ids_BT` (int64), and the state after the last."""
        hidden_BTH, state = self._read(ids_BT, state)
        return self.output(self.dropout(hidden_BTH)), state

    def as_decoder(self) -> Decoder:
        return Decoder(self.model, self.embedding, self.recurrent, self.output, self.boundary_id)

    def num_parameters(self) -> int:
        """Trainable numbers, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())

    def _read(self, ids_BT: Tensor, state: State) -> tuple[Tensor, State]:
        x_BTE = self.embedding(ids_BT)
        return by_document(ids_BT, self.boundary_id, state, lambda steps, state: self.recurrent(x_BTE[:, steps], state))


def by_document(
    ids_BT: Tensor, boundary_id: int | None, state: State, read: Callable[[slice, State], tuple[Tensor, State]]
) -> tuple[Tensor, State]:
    """What `read` makes of all steps, cut in time wherever some row begins a document.

    Rows that begin none there are carried across the cut. Time is the last dimension but one of what `read` makes.
    """
    begins_BT = ids_BT == boundary_id if boundary_id is not None else None
    if begins_BT is None or not begins_BT.any():
        return read(slice(None), state)
    cuts = begins_BT.any(dim=0).nonzero().flatten().tolist()
    pieces = []
    for begin, end in pairwise(sorted({0, *cuts, ids_BT.shape[1]})):
        piece, state = read(slice(begin, end), zero_rows(state, begins_BT[:, begin]))
        pieces.append(piece)
    return torch.cat(pieces, dim=-2), state


@torch.no_grad()
def initialise_recurrent(layers: nn.Module, model: ModelSpec) -> None:
    """W_hh orthogonal per gate, W_ih Glorot, biases zero but for an LSTM's forget bias."""
    hidden = model.hidden_size
    for name, parameter in layers.named_parameters():
        if name.startswith("weight_hh"):
            for gate in torch.split(parameter, hidden):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
            # PyTorch adds two biases: one carries the forget bias, the other stays zero.
            if model.cell == "lstm" and name.startswith("bias_ih") and model.forget_bias is not None:
                parameter[hidden : 2 * hidden] = model.forget_bias


def language_model_network(model: ModelSpec, encoding: Encoding) -> RecurrentNetwork:
    """Reads and predicts the symbols of one vocabulary."""
    vocabulary = encoding.symbols
    return RecurrentNetwork(model, vocabulary_size=vocabulary.size, boundary_id=vocabulary.boundary_id)
