"""Text into Markdown: cells, tables, anchors. Knows nothing of what the text says."""

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell's bars are escaped and its line ends become spaces."""
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def code(value: object) -> str:
    """`value` as code, or nothing for an empty one."""
    return f"`{value}`" if str(value) else ""


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return kept.replace(" ", "-")


def link(text: str, page: str = "", heading: str | None = None) -> str:
    """A link to a heading: of this page, or of another."""
    return f"[{text}]({page}#{anchor(heading or text)})"


def _cell(value: object) -> str:
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|").strip()
