"""The client that blocks, from the one that is awaited: the same text without the words for waiting."""

import re
from pathlib import Path

from docs.generate.formatting import formatted

_NOTE = "# Written by `make reference` from {source}; change it there.\n"
# In this order; the last one takes the prefix from the names of our classes.
_WORDS = (
    (r"AsyncGenerator\[(.+?), None\](?=[:\s])", r"Generator[\1, None, None]"),
    (r"Awaitable\[None\]", "None"),
    (r"\bAsync(Iterator|Iterable|Generator)\b", r"\1"),
    (r", Awaitable\b", ""),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\ba(closing|close|read|iter_bytes)\b", r"\1"),
    (r"\bunroll\.aio\b", "unroll"),
    (r"\basync (?=def|with|for)", ""),
    (r"\bawait ", ""),
    (r"\bAsync(?=[A-Z])", ""),
)
# Written by hand in both.
_BY_HAND = frozenset({"__init__.py", "net.py"})


def blocking_modules(package: Path) -> dict[Path, str]:
    """The generated modules of the client in `package`, by their path from there."""
    sources = sorted((package / "aio").rglob("*.py"))
    found = {source.relative_to(package / "aio"): source for source in sources}
    return {
        path: blocking(source.read_text(encoding="utf-8"), f"unroll/aio/{path.as_posix()}")
        for path, source in found.items()
        if path.as_posix() not in _BY_HAND
    }


def blocking(text: str, source: str) -> str:
    """`text` without what waits."""
    for found, instead in _WORDS:
        text = re.sub(found, instead, text)
    end = text.index('"""', 3) + 4 if text.startswith('"""') else 0
    return formatted(text[:end] + "\n" + _NOTE.format(source=source) + text[end:])
