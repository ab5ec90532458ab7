"""Data sets of independent rows: labelled, tagged, pairs, sequences. Each row is an input and its target.

A symbol is one character of a string, or one string of a list. Numbers are lists, a time step each, or lists of such
lists with a number for each channel.
"""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore.datasets.records import Record
from rnncore.errors import InvalidText

RowKind = Literal["labelled", "tagged", "pairs", "sequences"]
DELIMITERS: dict[RowKind, str] = {"labelled": ",", "tagged": ",", "pairs": "\t", "sequences": ","}

MAX_STEPS = 100_000
MAX_CHANNELS = 1_024
_LONGEST_NAME = 200

Symbols = list[str]
Numbers = NDArray[np.float32]


class Row(NamedTuple):
    """Input: symbols or numbers_TC. Target: one label, symbols, or numbers_K."""

    inputs: Symbols | Numbers
    target: str | Symbols | Numbers


def parse_row(kind: RowKind, number: int, record: Record) -> Row:
    """The row in `record`. Raises InvalidText naming row, column and what is wanted there."""
    if kind == "labelled":
        return _labelled(number, record)
    if kind == "tagged":
        inputs = _symbols(number, record, "inputs")
        tags = _symbols(number, record, "tags")
        if len(inputs) != len(tags):
            raise _fault(number, "tags", f"has {len(tags)} tags for {len(inputs)} inputs; give one for each")
        return Row(inputs, tags)
    if kind == "pairs":
        return Row(_symbols(number, record, "source"), _symbols(number, record, "target"))
    return Row(_numbers(number, record, "inputs"), _target_numbers(number, record))


def _labelled(number: int, record: Record) -> Row:
    has_text, has_series = "text" in record, "series" in record
    if has_text == has_series:
        raise _fault(number, "text", "give either `text` (a string) or `series` (a list of numbers), not both or none")
    label = _value(number, record, "label")
    if isinstance(label, bool) or not isinstance(label, str | int) or str(label) == "":
        raise _fault(number, "label", f"must be a string or a whole number, is {label!r:.40}")
    label = _named(number, "label", str(label))
    if has_series:
        return Row(_numbers(number, record, "series"), label)
    if not isinstance(record["text"], str):
        raise _fault(number, "text", f"must be a string, is {record['text']!r:.40}")
    return Row(_symbols(number, record, "text"), label)


def _symbols(number: int, record: Record, column: str) -> Symbols:
    value = _value(number, record, column)
    if isinstance(value, list) and all(isinstance(symbol, str) for symbol in value):
        symbols = [_named(number, column, symbol) for symbol in value]
    elif isinstance(value, str):
        symbols = list(value)
    else:
        raise _fault(number, column, f"must be a string or a list of strings, is {value!r:.40}")
    if not symbols:
        raise _fault(number, column, "is empty; give at least one symbol")
    if len(symbols) > MAX_STEPS:
        raise _fault(number, column, f"has {len(symbols)} symbols, the limit is {MAX_STEPS}")
    try:
        "".join(symbols).encode()
    except UnicodeEncodeError as error:
        raise _fault(number, column, f"holds the lone surrogate U+{ord(error.object[error.start]):04X}") from error
    return symbols


def _numbers(number: int, record: Record, column: str) -> Numbers:
    value = record.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        raise _fault(number, column, "lists of numbers are read from JSON Lines, not from CSV")
    steps = value if isinstance(value, list) else None
    if not steps:
        raise _fault(number, column, f"must be a list with at least one number, is {value!r:.40}")
    if len(steps) > MAX_STEPS:
        raise _fault(number, column, f"has {len(steps)} steps, the limit is {MAX_STEPS}")
    rows = [step if isinstance(step, list) else [step] for step in steps]
    width = len(rows[0])
    for at, row in enumerate(rows):
        if len(row) != width or not 1 <= width <= MAX_CHANNELS:
            raise _fault(number, column, f"step {at} has {len(row)} channels, step 0 has {width} (1 to {MAX_CHANNELS})")
        for item in row:
            if not is_number(item):
                raise _fault(number, column, f"step {at} must be a finite number, is {item!r:.40}")
    return np.array(rows, dtype=np.float32)


def _target_numbers(number: int, record: Record) -> Numbers:
    value = record.get("target")
    items = value if isinstance(value, list) else [value]
    if not 1 <= len(items) <= MAX_CHANNELS or not all(map(is_number, items)):
        raise _fault(number, "target", f"must be a finite number or a list of them, is {value!r:.40}")
    return np.array(items, dtype=np.float32)


def is_number(item: Any) -> bool:
    """Whether `item` is a finite number of a size that float32 holds with room to spare."""
    return isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item) and abs(item) < 1e30


def _value(number: int, record: Record, column: str) -> Any:
    if column not in record:
        raise _fault(number, column, f"is missing; this row has {', '.join(map(repr, list(record)[:9])) or 'nothing'}")
    return record[column]


def _named(number: int, column: str, name: str) -> str:
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise _fault(number, column, f"has a name of {len(name)} characters; 1 to {_LONGEST_NAME} are possible")
    return name


def _fault(number: int, column: str, what: str) -> InvalidText:
    return InvalidText(f"row {number}, column {column}: {what}", param="file")
