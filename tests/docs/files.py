"""The files that pages speak of, by name, small enough to be learned within seconds."""

import pydoc_data.topics
from collections.abc import Callable

from unroll.lecture.adding import adding_problem

from benchmarks import data

# A job shows its worth within seconds on so many rows.
ROWS = 4_000
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def counting() -> bytes:
    """Something to learn: squares, spelled out digit by digit."""
    words = (" ".join(_DIGITS[int(d)] for d in str(n * n)) for n in range(3_000))
    return ("the beginning of the book, and one more word\n" + "\n".join(words))[:40_000].encode()


def cats() -> bytes:
    return b"the cat sat on the mat and the dog ran at the hat. " * 60


def documentation() -> bytes:
    """Python's own documentation; its first 150,000 characters."""
    return "".join(pydoc_data.topics.topics.values())[:150_000].encode()


def some(content: bytes) -> bytes:
    """Rows from all over the file."""
    rows = content.splitlines(keepends=True)
    return b"".join(rows[:: max(1, len(rows) // ROWS)])


FILES: dict[str, Callable[[], bytes]] = {
    "book.txt": counting,
    "cats.txt": cats,
    "documentation.txt": documentation,
    "stress.jsonl": lambda: some(data.stress()),
    "spelling.jsonl": lambda: some(data.spelling()),
    "names.jsonl": lambda: some(data.names()),
    "weather.csv": data.weather,
    "adding.npz": lambda: adding_problem(ROWS, 12, seed=1),
}
