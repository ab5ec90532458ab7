"""What kind of data set a file is, where nobody says so: told by its name and its first row. Reads no further."""

import csv
import json
from pathlib import PurePath

from rnncore.datasets.summaries import DatasetKind

# Enough for the first row of most files; a longer one has to be named.
HEAD_BYTES = 1 << 16

_ZIP = b"PK\x03\x04"
_COLUMNS: tuple[tuple[set[str], DatasetKind], ...] = (
    ({"text", "label"}, "labelled"),
    ({"series", "label"}, "labelled"),
    ({"inputs", "tags"}, "tagged"),
    ({"source", "target"}, "pairs"),
    ({"inputs", "target"}, "sequences"),
)


def recognised(name: str, head: bytes) -> DatasetKind:
    """The kind of a file that begins with `head`: rows by their columns, any other table a series, all else text."""
    if head.startswith(_ZIP):
        return "sequences"
    line = head.decode("utf-8-sig", "replace").lstrip().partition("\n")[0].rstrip()
    suffix = PurePath(name).suffix.lower()
    if line.startswith("{"):
        return _of_columns(_fields(line)) or "text"
    if suffix in (".csv", ".tsv"):
        header = next(csv.reader([line], delimiter="\t" if "\t" in line else ","), [])
        return _of_columns({column.strip() for column in header}) or "series"
    return "text"


def _of_columns(columns: set[str]) -> DatasetKind | None:
    return next((kind for wanted, kind in _COLUMNS if wanted <= columns), None)


def _fields(line: str) -> set[str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return set()
    return set(row) if isinstance(row, dict) else set()
