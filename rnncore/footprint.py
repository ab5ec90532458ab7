"""The least memory that training a network needs, in bytes, from its shape alone. Torch-free.

What PyTorch keeps is more: a job that passes may still run out of memory, one that does not pass never runs.
"""

from rnncore.spec import ModelSpec

_FLOAT = 4
_GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def num_parameters(model: ModelSpec, num_symbols: int) -> int:
    """Weights and biases of a network over `num_symbols` symbols: embedding, recurrent layers, output layer."""
    gates, units = _GATES[model.cell], model.hidden_size
    directions = 2 if model.bidirectional else 1
    reads = [model.embedding_size] + [units * directions] * (model.num_layers - 1)
    recurrent = sum(directions * gates * units * (size + units + 2) for size in reads)
    head = num_symbols * (1 if model.tie_weights else units * directions + 1)
    return num_symbols * model.embedding_size + recurrent + head


def model_bytes(model: ModelSpec, num_symbols: int) -> int:
    """Parameters, their gradients, and AdamW's two moments of each."""
    return 4 * _FLOAT * num_parameters(model, num_symbols)


def batch_bytes(model: ModelSpec, num_symbols: int, steps: int) -> int:
    """What back-propagation keeps of one row of `steps` steps: gates and states of each layer, logits."""
    directions = 2 if model.bidirectional else 1
    a_step = model.num_layers * directions * (_GATES[model.cell] + 1) * model.hidden_size + num_symbols
    return _FLOAT * steps * a_step
