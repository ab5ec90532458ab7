"""What a trained network answers to single inputs, for every task but the language model's.

An input is what a row of the data set has: symbols (a string or a list of strings), or numbers (a list, or a list of
lists with one number a channel). Shapes: B batch, T time, K outputs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnncore.batches import padded
from rnncore.datasets.rows import is_number
from rnncore.encoding import Encoding
from rnncore.errors import InvalidInput
from rnncore.manifest import Manifest
from rnncore.sampling import SamplingParameters
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import Task
from rnncore.tasks.generate import generate
from rnncore.tasks.translate import beam_search

MAX_STEPS = 10_000


class Options(NamedTuple):
    """How to answer: a generated sequence is sampled, a translation searched for."""

    sampling: SamplingParameters = SamplingParameters(max_tokens=100)
    beam_width: int = 1


class Sequence(NamedTuple):
    """Symbols that were written; a translation's score is its mean log-probability per symbol."""

    symbols: list[str]
    score: float | None = None


class Prediction(NamedTuple):
    """The part that belongs to the task is set: a label with the probability of each, tags, values, or sequences."""

    label: str | None = None
    probabilities: dict[str, float] | None = None
    tags: list[str] | None = None
    values: list[float] | None = None
    sequences: list[Sequence] | None = None


@torch.no_grad()
def predict(network: Any, manifest: Manifest, inputs: list[Any], options: Options) -> list[Prediction]:
    """One prediction for each of `inputs`. Raises InvalidInput or UnknownSymbol naming the input at fault."""
    answer = _ANSWERS.get(manifest.task)
    if answer is None:
        raise InvalidInput(f"this model is a {manifest.task}; ask POST /v1/completions", param="model")
    return answer(network, manifest.encoding, inputs, options)


def encoded_input(manifest: Manifest, value: Any, param: str) -> NDArray[np.generic]:
    """ids_T or normalised numbers_TC of one input of any task, as its network reads them; a generate's is a label."""
    encoding = manifest.encoding
    if encoding.vocabulary is not None:
        if not isinstance(value, str):
            raise InvalidInput("must be a text (a string)", param=param)
        return encoding.vocabulary.encode(value, param=param)
    if manifest.task == "generate":
        raise InvalidInput("a generate model is inspected with every checkpoint; it reads no input", param=param)
    return (_numbers if encoding.inputs is None else _ids)(encoding, value, param)


def _classify(network: SequenceNetwork, encoding: Encoding, inputs: list[Any], options: Options) -> list[Prediction]:
    del options
    labels = encoding.tokens_written.tokens
    scores_BK = network.last(*_encoded(encoding, inputs)).float().softmax(dim=1)
    return [
        Prediction(label=labels[row.index(max(row))], probabilities=dict(zip(labels, row, strict=True)))
        for row in scores_BK.tolist()
    ]


def _tag(network: SequenceNetwork, encoding: Encoding, inputs: list[Any], options: Options) -> list[Prediction]:
    del options
    ids_BT, lengths_B = _encoded(encoding, inputs)
    chosen_BT, _ = network.each(ids_BT, lengths_B)
    rows = zip(chosen_BT.argmax(dim=2).tolist(), lengths_B.tolist(), strict=True)
    return [Prediction(tags=encoding.tokens_written.decode(row[:length])) for row, length in rows]


def _regress(network: SequenceNetwork, encoding: Encoding, inputs: list[Any], options: Options) -> list[Prediction]:
    del options
    values_BK = network.last(*_encoded(encoding, inputs)).float().numpy()
    return [Prediction(values=row.tolist()) for row in encoding.numbers_written.restore(values_BK)]


def _generate(network: SequenceNetwork, encoding: Encoding, inputs: list[Any], options: Options) -> list[Prediction]:
    predictions = []
    for number, label in enumerate(inputs):
        if not isinstance(label, str):
            raise InvalidInput(f"must be a label (a string), is {label!r:.40}", param=f"inputs[{number}]")
        encoding.tokens_read.encode([label], param=f"inputs[{number}]")
        predictions.append(Prediction(sequences=[Sequence(generate(network, encoding, label, options.sampling))]))
    return predictions


def _translate(network: Any, encoding: Encoding, inputs: list[Any], options: Options) -> list[Prediction]:
    predictions = []
    for number, source in enumerate(inputs):
        symbols = _symbols(source, f"inputs[{number}]")
        encoding.tokens_read.encode(symbols, param=f"inputs[{number}]")
        found = beam_search(network, encoding, symbols, options.beam_width)
        predictions.append(Prediction(sequences=[Sequence(best.symbols, best.score) for best in found]))
    return predictions


_ANSWERS: dict[Task, Callable[[Any, Encoding, list[Any], Options], list[Prediction]]] = {
    "classify": _classify,
    "tag": _tag,
    "regress": _regress,
    "forecast": _regress,
    "generate": _generate,
    "translate": _translate,
}


def _encoded(encoding: Encoding, inputs: list[Any]) -> tuple[Tensor, Tensor]:
    encode = _numbers if encoding.inputs is None else _ids
    return padded([encode(encoding, value, f"inputs[{number}]") for number, value in enumerate(inputs)])


def _ids(encoding: Encoding, value: Any, param: str) -> NDArray[np.generic]:
    return encoding.tokens_read.encode(_symbols(value, param), param=param)


def _symbols(value: Any, param: str) -> list[str]:
    if isinstance(value, str):
        symbols = list(value)
    elif isinstance(value, list) and all(isinstance(symbol, str) for symbol in value):
        symbols = value
    else:
        raise InvalidInput(f"must be a string or a list of strings, is {value!r:.40}", param=param)
    if not 1 <= len(symbols) <= MAX_STEPS:
        raise InvalidInput(f"has {len(symbols)} symbols; 1 to {MAX_STEPS} are read", param=param)
    return symbols


def _numbers(encoding: Encoding, value: Any, param: str) -> NDArray[np.generic]:
    steps = value if isinstance(value, list) else []
    rows = [step if isinstance(step, list) else [step] for step in steps]
    width = encoding.num_channels
    if not 1 <= len(rows) <= MAX_STEPS:
        raise InvalidInput(f"must be a list of 1 to {MAX_STEPS} steps", param=param)
    for at, row in enumerate(rows):
        if len(row) != width or not all(is_number(item) for item in row):
            names = f" ({', '.join(encoding.columns)})" if encoding.columns else ""
            raise InvalidInput(f"step {at} must be {width} finite numbers{names}, is {row!r:.40}", param=param)
    return encoding.numbers_read.normalise(np.array(rows, dtype=np.float64))
