"""Curves drawn in characters: a plot of Braille dots, and a line of blocks. Knows no job and no colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"
# The bit of each dot of a Braille character, by column and row.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_ACROSS, _DOWN = 2, 4
_BLANK = 0x2800

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Rows of characters; `owner` says for each which curve lies on top, None where there is none."""

    rows: list[str]
    owners: list[list[int | None]]
    lowest: float
    highest: float
    last_x: float


def plot(curves: Sequence[Points], width: int, height: int) -> Plot | None:
    """`curves` over one another; None where none has a point. Points of a curve are joined."""
    points = [point for curve in curves for point in curve]
    if not points:
        return None
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    across, down = width * _ACROSS - 1, height * _DOWN - 1
    bits = [[0] * width for _ in range(height)]
    owners: list[list[int | None]] = [[None] * width for _ in range(height)]
    for number, curve in enumerate(curves):
        places = [
            (round((x - left) / ((right - left) or 1) * across), round((high - y) / ((high - low) or 1) * down))
            for x, y in curve
        ]
        for x, y in _joined(places):
            row, column = y // _DOWN, x // _ACROSS
            bits[row][column] |= _DOTS[x % _ACROSS][y % _DOWN]
            owners[row][column] = number
    rows = ["".join(chr(_BLANK + one) for one in row) for row in bits]
    return Plot(rows, owners, low, high, right)


def spark(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """`values` as a line of blocks, between `low` and `high` (their own ends, unless given)."""
    if len(values) < 2:
        return ""
    bottom = min(values) if low is None else low
    span = ((max(values) if high is None else high) - bottom) or 1.0
    return "".join(_BLOCKS[int((value - bottom) / span * (len(_BLOCKS) - 1))] for value in values)


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most `most` of `values`, evenly spread, first and last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def _joined(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The dots of the lines from each place to the next."""
    dots = list(places[:1])
    for (x, y), (to_x, to_y) in pairwise(places):
        steps = max(abs(to_x - x), abs(to_y - y), 1)
        dots += [(x + round((to_x - x) * k / steps), y + round((to_y - y) * k / steps)) for k in range(1, steps + 1)]
    return dots
