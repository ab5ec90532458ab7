"""Networks for whole sequences of unequal length: one that answers at every step or at the end, and an encoder-decoder.

Shapes: B batch, T time, S source time, C channels, D hidden units of all directions, K outputs.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from rnncore.network import Decoder, Network, initialise_recurrent
from rnncore.recurrence import recurrent_layers
from rnncore.spec import ModelSpec
from rnncore.state import State, detach_state


class SequenceNetwork(Network):
    """Symbols or numbers -> recurrent layers -> dropout -> linear.

    It reads `num_symbols` different ones through an embedding, or `num_channels` numbers a step as they are.
    """

    def __init__(
        self, model: ModelSpec, *, num_outputs: int, num_symbols: int | None = None, num_channels: int = 0
    ) -> None:
        super().__init__()
        self.model = model
        self.embedding = None if num_symbols is None else nn.Embedding(num_symbols, model.embedding_size)
        self.recurrent = recurrent_layers(model, model.embedding_size if self.embedding is not None else num_channels)
        self.dropout = nn.Dropout(model.dropout)
        directions = 2 if model.bidirectional else 1
        self.output = nn.Linear(model.hidden_size * directions, num_outputs)
        initialise_recurrent(self.recurrent, model)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def each(self, inputs: Tensor, lengths_B: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Outputs_BTK at every step of ids_BT or numbers_BTC, and the state behind the last step of all."""
        hidden_BTD, state = self._each(self._embedded(inputs), lengths_B, state)
        return self.output(self.dropout(hidden_BTD)), state

    def last(self, inputs: Tensor, lengths_B: Tensor, *, tbptt_steps: int | None = None) -> Tensor:
        """Outputs_BK behind the whole of each row; the gradient flows back through at most the last `tbptt_steps`."""
        hidden_BTD = self._truncated(self._embedded(inputs), lengths_B, tbptt_steps)
        rows = torch.arange(len(lengths_B), device=hidden_BTD.device)
        last_BD = hidden_BTD[rows, lengths_B - 1]
        if self.model.bidirectional:  # the backward half has read everything where the row begins
            half = self.model.hidden_size
            last_BD = torch.cat([last_BD[:, :half], hidden_BTD[:, 0, half:]], dim=1)
        return self.output(self.dropout(last_BD))  # type: ignore[no-any-return]  # torch types no module's result

    def as_decoder(self) -> Decoder:
        assert self.embedding is not None, "what reads numbers writes no symbols"
        assert not self.model.bidirectional, "what reads backwards as well writes no symbols"
        return Decoder(self.model, self.embedding, self.recurrent, self.output)

    def _embedded(self, inputs: Tensor) -> Tensor:
        return inputs if self.embedding is None else self.embedding(inputs)

    def _each(self, x_BTI: Tensor, lengths_B: Tensor, state: State) -> tuple[Tensor, State]:
        if self.model.bidirectional:
            return self.recurrent(x_BTI, state, lengths_B)  # type: ignore[no-any-return]  # torch types no module's result
        # In one direction what stands behind a row's end is never looked at, so nobody need know where that is.
        return self.recurrent(x_BTI, state)  # type: ignore[no-any-return]  # torch types no module's result

    def _truncated(self, x_BTI: Tensor, lengths_B: Tensor, tbptt_steps: int | None) -> Tensor:
        steps = x_BTI.shape[1]
        if tbptt_steps is None or tbptt_steps >= steps:
            return self._each(x_BTI, lengths_B, None)[0]
        state: State = None
        pieces = []
        for begin, end in pairwise([0, *range(steps % tbptt_steps or tbptt_steps, steps + 1, tbptt_steps)]):
            piece_BTD, state = self.recurrent(x_BTI[:, begin:end], detach_state(state))
            pieces.append(piece_BTD)
        return torch.cat(pieces, dim=1)


class EncoderDecoder(Network):
    """Reads a source to its end, then writes a target from the state that this left (Sutskever 2014; Cho 2014).

    The decoder reads what it wrote, or in training what it should have written (teacher forcing). Id `num_targets`
    begins and ends a target.
    """

    def __init__(self, model: ModelSpec, *, num_sources: int, num_targets: int) -> None:
        super().__init__()
        self.model = model
        self.source_embedding = nn.Embedding(num_sources, model.embedding_size)
        self.target_embedding = nn.Embedding(num_targets + 1, model.embedding_size)
        self.encoder = recurrent_layers(model, model.embedding_size)
        self.decoder = recurrent_layers(model.model_copy(update={"bidirectional": False}), model.embedding_size)
        # Both directions' final states, joined, become one state of the decoder.
        self.bridge = nn.Linear(2 * model.hidden_size, model.hidden_size) if model.bidirectional else None
        self.dropout = nn.Dropout(model.dropout)
        self.output = nn.Linear(model.hidden_size, num_targets + 1)
        initialise_recurrent(self.encoder, model)
        initialise_recurrent(self.decoder, model)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def encode(self, ids_BS: Tensor, lengths_B: Tensor) -> State:
        """The decoder's first state for each source."""
        _, state = self.encoder(self.source_embedding(ids_BS), None, lengths_B)
        if self.bridge is None:
            return state  # type: ignore[no-any-return]  # torch types no module's result
        if isinstance(state, tuple):
            return self._joined(state[0]), self._joined(state[1])
        assert state is not None
        return self._joined(state)

    def decode(self, ids_BT: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits_BTK of what follows each target symbol read, and the state behind the last."""
        hidden_BTD, state = self.decoder(self.target_embedding(ids_BT), state)
        return self.output(self.dropout(hidden_BTD)), state

    def as_decoder(self) -> Decoder:
        return Decoder(self.model, self.target_embedding, self.decoder, self.output)

    def _joined(self, state_LBH: Tensor) -> Tensor:
        assert self.bridge is not None
        layers, (batch, hidden) = self.model.num_layers, state_LBH.shape[1:]
        both = state_LBH.view(layers, 2, batch, hidden).transpose(1, 2).reshape(layers, batch, 2 * hidden)
        return torch.tanh(self.bridge(both))
