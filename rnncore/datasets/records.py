"""Bytes as they arrive -> records: rows of CSV with a header, or one JSON object a line. Knows no kind of data set.

Which of the two it is, the first character says: `{` begins JSON Lines.
"""

import codecs
import csv
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from rnncore.errors import InvalidText

MAX_RECORD_CHARACTERS = 4_000_000
MAX_ROWS = 5_000_000
_MOST_COLUMNS = 1_024

Record = dict[str, Any]


class RecordReader:
    """Feed it pieces of a file; it gives each record that is complete, with its row number (the first is 1)."""

    def __init__(self, *, delimiter: str = ",") -> None:
        self._delimiter = delimiter
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._held = ""
        self._is_json: bool | None = None
        self._header: list[str] | None = None
        self._row = 0

    def feed(self, piece: bytes, *, final: bool = False) -> Iterator[tuple[int, Record]]:
        """Takes the next bytes. Raises InvalidText naming the row of the first fault."""
        try:
            self._held += self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            raise InvalidText(
                f"row {self._row + 1}: byte 0x{error.object[error.start]:02X} is not UTF-8; convert the file to UTF-8",
                param="file",
            ) from error
        if self._is_json is None:
            start = self._held.lstrip()
            if not start:
                return
            self._is_json = start[0] == "{"
        complete = self._complete(final)
        if len(self._held) > MAX_RECORD_CHARACTERS:
            raise InvalidText(
                f"row {self._row + 1} is over {MAX_RECORD_CHARACTERS} characters long; split it", param="file"
            )
        yield from self._json(complete) if self._is_json else self._csv(complete)

    def _complete(self, final: bool) -> str:
        """Cuts off what ends with a line end outside all quotes."""
        end = len(self._held) if final else self._held.rfind("\n") + 1
        while end and not final and not self._is_json and self._held.count('"', 0, end) % 2:
            end = self._held.rfind("\n", 0, end - 1) + 1
        complete, self._held = self._held[:end], self._held[end:]
        return complete

    def _json(self, lines: str) -> Iterator[tuple[int, Record]]:
        for line in lines.split("\n"):
            if not line.strip():
                continue
            number = self._next()
            try:
                record = json.loads(line, parse_constant=_no_number)
            except (ValueError, RecursionError) as error:
                raise InvalidText(f"row {number} is not JSON: {error}", param="file") from error
            if not isinstance(record, dict):
                raise InvalidText(f"row {number} is {_name(record)}; each line must be a JSON object", param="file")
            yield number, record

    def _csv(self, lines: str) -> Iterator[tuple[int, Record]]:
        try:
            for values in csv.reader(lines.splitlines(keepends=True), delimiter=self._delimiter, strict=True):
                if not values:
                    continue
                if self._header is None:
                    self._header = _header([value.strip() for value in values])
                    continue
                number = self._next()
                if len(values) != len(self._header):
                    raise InvalidText(
                        f"row {number} has {len(values)} columns, the header has {len(self._header)}; "
                        "put quotes around values that hold the separator",
                        param="file",
                    )
                yield number, dict(zip(self._header, values, strict=True))
        except csv.Error as error:
            raise InvalidText(f"row {self._row + 1} is not CSV: {error}", param="file") from error

    def _next(self) -> int:
        self._row += 1
        if self._row > MAX_ROWS:
            raise InvalidText(f"the file has more than {MAX_ROWS} rows, the limit; split it", param="file")
        return self._row

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns of a CSV file; empty for JSON Lines."""
        return tuple(self._header or ())


def _header(names: list[str]) -> list[str]:
    if len(names) > _MOST_COLUMNS:
        raise InvalidText(f"the header has {len(names)} columns, the limit is {_MOST_COLUMNS}", param="file")
    twice = {name for name in names if names.count(name) > 1}
    if twice or "" in names:
        raise InvalidText(
            f"the header {names[:20]} must give each column a name of its own; is its first line missing?", param="file"
        )
    return names


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number that JSON knows")


def _name(value: object) -> str:
    return {list: "a list", str: "a string", bool: "a truth value"}.get(type(value), "a number or null")
