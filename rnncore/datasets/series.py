"""Data sets of kind `series`: CSV with a header, one row a time step, numeric columns, one of them to be forecast."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnncore.datasets.records import Record, RecordReader
from rnncore.datasets.summaries import SeriesSummary
from rnncore.errors import InvalidText

_PIECE_BYTES = 1 << 20


class SeriesScan:
    """Scans one series; the last column is forecast unless `target` names another."""

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._reader = RecordReader()
        self._num_rows = 0

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes. Raises InvalidText naming row and column of what is no number."""
        self._take(piece, final=False)

    def summary(self) -> SeriesSummary:
        """What was read. Raises InvalidText for a series without rows or without its target."""
        self._take(b"", final=True)
        if self._num_rows < 2:
            raise InvalidText(f"the series has {self._num_rows} rows; at least two are needed", param="file")
        columns = self._reader.header
        target = self._target or columns[-1]
        if target not in columns:
            raise InvalidText(f"there is no column {target!r}; there are {', '.join(columns)}", param="target")
        return SeriesSummary(num_rows=self._num_rows, columns=columns, target=target)

    def _take(self, piece: bytes, *, final: bool) -> None:
        for number, record in self._reader.feed(piece, final=final):
            _values(number, record)
            self._num_rows += 1
        if not self._reader.header and self._num_rows:
            raise InvalidText("a series is CSV with a header, not JSON Lines; one row a time step", param="file")


def read_series(path: Path) -> NDArray[np.float64]:
    """Numbers_NC of a file that was scanned before."""

    def rows() -> Iterator[list[float]]:
        reader = RecordReader()
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                for number, record in reader.feed(piece):
                    yield _values(number, record)
        for number, record in reader.feed(b"", final=True):
            yield _values(number, record)

    return np.array(list(rows()), dtype=np.float64)


def _values(number: int, record: Record) -> list[float]:
    values = []
    for column, raw in record.items():
        try:
            value = float(raw)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value) or abs(value) > 1e30:
            raise InvalidText(
                f"row {number}, column {column}: must be a finite number, is {raw!r:.40}; "
                "drop columns that hold none, fill gaps",
                param="file",
            )
        values.append(value)
    return values
