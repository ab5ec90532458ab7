"""The language model: embedding -> stacked recurrent layers -> logits, through torch.nn's fast paths.

Shapes: B batch, T time, E embedding, H hidden, V vocabulary.
"""

import torch
from torch import Tensor, nn

from rnncore.spec import ModelSpec
from rnncore.state import State

_RECURRENT = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentNetwork(nn.Module):
    """Embedding -> RNN, LSTM or GRU -> dropout -> linear, W_hh initialised orthogonal per gate, W_ih Glorot."""

    def __init__(self, model: ModelSpec, *, vocabulary_size: int) -> None:
        super().__init__()
        self.model = model
        self.vocabulary_size = vocabulary_size
        self.embedding = nn.Embedding(vocabulary_size, model.embedding_size)
        self.recurrent = _RECURRENT[model.cell](
            model.embedding_size,
            model.hidden_size,
            model.num_layers,
            dropout=model.dropout if model.num_layers > 1 else 0.0,
            batch_first=True,
        )
        self.dropout = nn.Dropout(model.dropout)
        self.output = nn.Linear(model.hidden_size, vocabulary_size)
        self._initialise()
        if model.tie_weights:
            self.output.weight = self.embedding.weight

    def forward(self, ids_BT: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Logits_BTV of the symbol after each one of `ids_BT` (int64), and the state after the last."""
        hidden_BTH, state = self.recurrent(self.embedding(ids_BT), state)
        return self.output(self.dropout(hidden_BTH)), state

    def num_parameters(self) -> int:
        """Trainable numbers, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())

    @torch.no_grad()
    def _initialise(self) -> None:
        hidden = self.model.hidden_size
        # Tied, the embedding also makes the logits, which must start small.
        nn.init.normal_(self.embedding.weight, std=hidden**-0.5 if self.model.tie_weights else 1.0)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.split(hidden):
                    nn.init.orthogonal_(gate)
            elif name.startswith("weight_ih"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
                # PyTorch adds two biases: one carries the forget bias, the other stays zero.
                if self.model.cell == "lstm" and name.startswith("bias_ih"):
                    parameter[hidden : 2 * hidden] = self.model.forget_bias
