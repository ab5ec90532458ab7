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
from rnncore.spec import Task
from rnncore.stepper import Stepper
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
def predict(
    network: Any, stepper: Stepper | None, manifest: Manifest, inputs: list[Any], options: Options
) -> list[Prediction]:
    """One prediction for each of `inputs`; the stepper is what `make_stepper` makes of the network.

    Raises InvalidInput or UnknownSymbol naming the input at fault.
    """
    answer = _ANSWERS.get(manifest.task)
    if answer is None:
        raise InvalidInput(f"this model is a {manifest.task}; ask POST /v1/completions", param="model")
    return answer(_Model(network, stepper, manifest.encoding), inputs, options)


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


class _Model(NamedTuple):
    network: Any
    stepper: Stepper | None
    encoding: Encoding


def _classify(model: _Model, inputs: list[Any], options: Options) -> list[Prediction]:
    del options
    labels = model.encoding.tokens_written.tokens
    scores_BK = model.network.last(*_encoded(model.encoding, inputs)).float().softmax(dim=1)
    return [
        Prediction(label=labels[row.index(max(row))], probabilities=dict(zip(labels, row, strict=True)))
        for row in scores_BK.tolist()
    ]


def _tag(model: _Model, inputs: list[Any], options: Options) -> list[Prediction]:
    del options
    ids_BT, lengths_B = _encoded(model.encoding, inputs)
    chosen_BT, _ = model.network.each(ids_BT, lengths_B)
    rows = zip(chosen_BT.argmax(dim=2).tolist(), lengths_B.tolist(), strict=True)
    return [Prediction(tags=model.encoding.tokens_written.decode(row[:length])) for row, length in rows]


def _regress(model: _Model, inputs: list[Any], options: Options) -> list[Prediction]:
    del options
    values_BK = model.network.last(*_encoded(model.encoding, inputs)).float().numpy()
    return [Prediction(values=row.tolist()) for row in model.encoding.numbers_written.restore(values_BK)]


def _generate(model: _Model, inputs: list[Any], options: Options) -> list[Prediction]:
    for number, label in enumerate(inputs):
        if not isinstance(label, str):
            raise InvalidInput(f"must be a label (a string), is {label!r:.40}", param=f"inputs[{number}]")
        model.encoding.tokens_read.encode([label], param=f"inputs[{number}]")
    assert model.stepper is not None, "one that generates has it"
    written = generate(model.stepper, model.encoding, inputs, options.sampling)
    return [Prediction(sequences=[Sequence(symbols)]) for symbols in written]


def _translate(model: _Model, inputs: list[Any], options: Options) -> list[Prediction]:
    sources = [_ids(model.encoding, source, f"inputs[{number}]") for number, source in enumerate(inputs)]
    assert model.stepper is not None, "one that translates has it"
    found = beam_search(model.network, model.stepper, model.encoding, sources, options.beam_width)
    return [Prediction(sequences=[Sequence(best.symbols, best.score) for best in of_source]) for of_source in found]


_ANSWERS: dict[Task, Callable[[_Model, list[Any], Options], list[Prediction]]] = {
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


def _ids(encoding: Encoding, value: Any, param: str) -> NDArray[np.int64]:
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
