"""Reads an upload piece by piece and ends in its summary. The first fault ends it, with row and column."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from rnncore.corpus import TextScan
from rnncore.datasets.records import RecordReader
from rnncore.datasets.rows import DELIMITERS, MAX_CHANNELS, MAX_STEPS, Row, RowKind, parse_row
from rnncore.datasets.series import SeriesScan
from rnncore.datasets.split import row_hash, row_hashes
from rnncore.datasets.summaries import DatasetKind, RowSummary, Summary, SymbolTable
from rnncore.errors import InvalidInput, InvalidText
from rnncore.vocabulary import MAX_SYMBOLS, VocabularyKind

_ZIP = b"PK\x03\x04"
_MOST_ARRAY_BYTES = 4 << 30
_PIECE_BYTES = 1 << 20


class Scan(Protocol):
    """Takes the bytes of one file, then says what they were."""

    def feed(self, piece: bytes) -> None: ...
    def summary(self) -> Summary: ...


def make_scan(kind: DatasetKind, *, vocabulary: VocabularyKind | None = None, target: str | None = None) -> Scan:
    """The scan of `kind`. Raises InvalidInput for an option that belongs to another kind."""
    if vocabulary is not None and kind != "text":
        raise InvalidInput(f"vocabulary is for kind=text alone, kind is {kind}; leave it out", param="vocabulary")
    if target is not None and kind != "series":
        raise InvalidInput(f"target is for kind=series alone, kind is {kind}; leave it out", param="target")
    if kind == "text":
        return TextScan(vocabulary or "characters")
    if kind == "series":
        return SeriesScan(target)
    return RowScan(kind)


class RowScan:
    """Scans independent rows: CSV with a header, JSON Lines, or for sequences a NumPy archive."""

    def __init__(self, kind: RowKind) -> None:
        self._kind = kind
        self._reader = RecordReader(delimiter=DELIMITERS[kind])
        self._start = b""
        self._archive: io.BytesIO | None = None
        self._lengths: list[int] = []
        self._longest_target = 1
        self._width: tuple[int, int] | None = None
        self._inputs: dict[str, int] = {}
        self._targets: dict[str, int] = {}
        self._has_symbols = False

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes. Raises InvalidText."""
        if self._archive is not None:
            self._archive.write(piece)
            return
        if self._start is not None and len(self._start) < len(_ZIP):
            self._start += piece
            if len(self._start) < len(_ZIP):
                return
            piece = self._start
            if self._kind == "sequences" and piece.startswith(_ZIP):
                self._archive = io.BytesIO()
                self._archive.write(piece)
                return
        self._take_records(piece, final=False)

    def summary(self) -> RowSummary:
        """What was read. Raises InvalidText for rows nothing can be learnt from."""
        if self._archive is not None:
            for row in read_archive(self._archive):
                self._take(len(self._lengths) + 1, row)
        elif len(self._start) < len(_ZIP):
            self._take_records(self._start, final=True)
        else:
            self._take_records(b"", final=True)
        num_rows = len(self._lengths)
        if num_rows < 2:
            raise InvalidText(f"the file has {num_rows} rows; upload at least two", param="file")
        inputs, targets = (_table(seen, num_rows) for seen in (self._inputs, self._targets))
        if self._kind == "labelled" and targets and len(targets.symbols) < 2:
            raise InvalidText(
                f"every row has the label {targets.symbols[0]!r}; there is nothing to tell apart", param="file"
            )
        channels, num_targets = self._width or (0, 0)
        return RowSummary(
            kind=self._kind,
            num_rows=num_rows,
            num_steps=sum(self._lengths),
            shortest=min(self._lengths),
            longest=max(self._lengths),
            longest_target=self._longest_target,
            inputs=inputs,
            targets=targets,
            num_channels=channels,
            num_targets=num_targets,
        )

    def _take_records(self, piece: bytes, *, final: bool) -> None:
        for number, record in self._reader.feed(piece, final=final):
            self._take(number, parse_row(self._kind, number, record))

    def _take(self, number: int, row: Row) -> None:
        place = row_hash(number - 1)
        has_symbols = isinstance(row.inputs, list)
        if self._lengths and has_symbols != self._has_symbols:
            found = "symbols" if has_symbols else "numbers"
            raise InvalidText(f"row {number} has {found}, the rows before it had the other", param="file")
        self._has_symbols = has_symbols
        if isinstance(row.inputs, list):
            _note(self._inputs, row.inputs, place)
        self._check_width(number, row)
        if isinstance(row.target, str):
            _note(self._targets, [row.target], place)
        elif isinstance(row.target, list):
            _note(self._targets, row.target, place)
            self._longest_target = max(self._longest_target, len(row.target))
        self._lengths.append(len(row.inputs))
        for seen in (self._inputs, self._targets):
            if len(seen) > MAX_SYMBOLS:
                raise InvalidText(f"row {number}: more than {MAX_SYMBOLS} different symbols, the limit", param="file")

    def _check_width(self, number: int, row: Row) -> None:
        channels = 0 if isinstance(row.inputs, list) else row.inputs.shape[1]
        num_targets = len(row.target) if isinstance(row.target, np.ndarray) else 0
        if self._width is None:
            self._width = (channels, num_targets)
        elif self._width != (channels, num_targets):
            raise InvalidText(
                f"row {number} has {channels} channels and {num_targets} targets, "
                f"row 1 had {self._width[0]} and {self._width[1]}; all rows must agree",
                param="file",
            )


def read_rows(kind: RowKind, path: Path) -> Iterator[Row]:
    """The rows of a file that was scanned before, in file order."""
    with path.open("rb") as file:
        if kind == "sequences" and file.read(len(_ZIP)) == _ZIP:
            file.seek(0)
            yield from read_archive(file)
            return
        file.seek(0)
        reader = RecordReader(delimiter=DELIMITERS[kind])
        while piece := file.read(_PIECE_BYTES):
            for number, record in reader.feed(piece):
                yield parse_row(kind, number, record)
        for number, record in reader.feed(b"", final=True):
            yield parse_row(kind, number, record)


def read_archive(file: io.IOBase) -> Iterator[Row]:
    """Rows of a NumPy archive: `inputs` N x T (x C), `target` N (x K), optionally `lengths` N. Raises InvalidText."""
    try:
        with zipfile.ZipFile(file) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > _MOST_ARRAY_BYTES:
                raise InvalidText(
                    f"the archive unpacks to {declared} bytes, the limit is {_MOST_ARRAY_BYTES}", param="file"
                )
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise InvalidText(f"the NumPy archive cannot be read: {error}; objects are never read", param="file") from error
    yield from _archive_rows(found)


def _archive_rows(arrays: dict[str, np.ndarray]) -> Iterator[Row]:
    if not {"inputs", "target"} <= set(arrays) <= {"inputs", "target", "lengths"}:
        raise InvalidText(
            f"the archive holds {sorted(arrays)}; it must hold `inputs` and `target`, and may hold `lengths`",
            param="file",
        )
    inputs, target = arrays["inputs"], arrays["target"]
    inputs = inputs[:, :, None] if inputs.ndim == 2 else inputs
    target = target[:, None] if target.ndim == 1 else target
    lengths = arrays.get("lengths", np.full(len(inputs), inputs.shape[1] if inputs.ndim == 3 else 0))
    _check_arrays(inputs, target, lengths)
    for numbers_TC, length, numbers_K in zip(inputs, lengths, target, strict=True):
        yield Row(numbers_TC[:length].astype(np.float32), numbers_K.astype(np.float32))


def _check_arrays(inputs: np.ndarray, target: np.ndarray, lengths: np.ndarray) -> None:
    def fault(what: str) -> InvalidText:
        return InvalidText(f"the archive's {what}", param="file")

    if inputs.ndim != 3 or target.ndim != 2 or lengths.ndim != 1:
        raise fault(f"shapes are {inputs.shape} and {target.shape}; wanted N x T (x C) and N (x K)")
    if not len(inputs) == len(target) == len(lengths):
        raise fault(f"arrays have {len(inputs)}, {len(target)} and {len(lengths)} rows; they must agree")
    if inputs.shape[1] > MAX_STEPS or not 1 <= inputs.shape[2] <= MAX_CHANNELS or target.shape[1] > MAX_CHANNELS:
        raise fault(
            f"inputs have {inputs.shape[1]} steps of {inputs.shape[2]} channels; the limits are "
            f"{MAX_STEPS} and {MAX_CHANNELS}"
        )
    if lengths.dtype.kind not in "iu" or (len(lengths) and not 1 <= lengths.min() <= lengths.max() <= inputs.shape[1]):
        raise fault(f"lengths must be whole numbers from 1 to {inputs.shape[1]}")
    for name, array in (("inputs", inputs), ("target", target)):
        if array.dtype.kind not in "iuf":
            raise fault(f"{name} have type {array.dtype}; wanted numbers")
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise fault(f"{name} are not finite in row {row + 1}")


def _note(seen: dict[str, int], symbols: list[str], row_hash: int) -> None:
    for symbol in set(symbols):
        seen[symbol] = min(seen.get(symbol, row_hash), row_hash)


def _table(seen: dict[str, int], num_rows: int) -> SymbolTable | None:
    if not seen:
        return None
    ordered = sorted(seen, key=lambda symbol: (seen[symbol], symbol))
    places = np.searchsorted(np.sort(row_hashes(num_rows)), np.array([seen[symbol] for symbol in ordered], np.uint64))
    return SymbolTable(symbols=tuple(ordered), ranks=tuple(places.tolist()))
