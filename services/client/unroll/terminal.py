"""What may reach a terminal: hostile text made visible, plain tables, JSON. Knows no resource and loads no Rich."""

import json
import os
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

# Control, format (bidirectional overrides among them), surrogate, private use, line and paragraph separator.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def visible(text: str, *, keep: str = "\n\t") -> str:
    r"""`text` with every character that a terminal would obey rather than show written as `\x1b` or `\u202e`."""
    return "".join(
        character if character in keep or unicodedata.category(character) not in _HIDDEN else _escaped(character)
        for character in text
    )


def one_line(value: object) -> str:
    """`value` for a cell of a table: visible, line ends included; `-` for nothing."""
    return "-" if value is None or value == "" else visible(str(value), keep="")


def is_interactive() -> bool:
    return sys.stdout.isatty()


def is_live_terminal() -> bool:
    """Whether stdout is a terminal that can be redrawn."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def note(message: str) -> None:
    """A message to the person: stderr."""
    typer.echo(visible(message), err=True)


def print_json(value: Any, *, is_line: bool = False) -> None:
    """Data to stdout; ASCII alone, so that no text within reaches a terminal raw. `is_line`: as one of JSON Lines."""
    typer.echo(json.dumps(value, indent=None if is_line else 2))


def dump(answer: "BaseModel") -> dict[str, Any]:
    """An answer as the server sent it, what this version does not know included."""
    return answer.model_dump(mode="json", exclude_unset=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns to stdout, as wide as they need to be: what a pipe reads is never cut."""
    cells = [[one_line(value) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
    for row in (header, *cells):
        padded = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())


def moment(seconds: float | None) -> str | None:
    """Unix seconds as local time."""
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float | None) -> str:
    """90 -> `1m 30s`."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
