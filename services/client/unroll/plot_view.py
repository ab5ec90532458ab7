"""Curves on a terminal, in colours; nothing in a pipe, where a table says more. Knows no job."""

from collections.abc import Sequence

from rich.console import Console, Group
from rich.text import Text

from unroll.curves import Points, plot
from unroll.terminal import is_live_terminal, number, one_line

HEIGHT = 10
COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red", "bright_cyan", "bright_yellow", "white")
_MARGIN = 10


def show(names: Sequence[str], curves: Sequence[Points]) -> None:
    """Prints the curves over one another, and whose is which."""
    if not is_live_terminal():
        return
    console = Console(markup=False, highlight=False, emoji=False)
    drawn = draw(curves, console.width, HEIGHT)
    if drawn is None:
        return
    console.print()
    console.print(drawn)
    for number_, name in enumerate(names):
        console.print(Text.assemble(("  ━━ ", COLOURS[number_ % len(COLOURS)]), one_line(name)))


def draw(curves: Sequence[Points], width: int, height: int) -> Group | None:
    """The curves with their scales; None where there is nothing to draw."""
    found = plot(curves, max(10, width - _MARGIN - 2), height)
    if found is None:
        return None
    lines = []
    for place, (row, owners) in enumerate(zip(found.rows, found.owners, strict=True)):
        value = {0: found.highest, height - 1: found.lowest}.get(place)
        line = Text(f"{'' if value is None else number(value):>{_MARGIN - 2}} ", style="dim", no_wrap=True)
        for character, owner in zip(row, owners, strict=True):
            line.append(character, COLOURS[(owner or 0) % len(COLOURS)])
        lines.append(line)
    lines.append(Text(f"{f'step {found.last_x:,.0f}':>{width - 2}}", style="dim", no_wrap=True))
    return Group(*lines)
