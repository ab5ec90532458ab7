"""Writes results.json, one PNG a figure and report.html, which holds its figures itself. Knows no server."""

import base64
import io
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from unroll.lecture.figures import draw
from unroll.lecture.results import ADDING_TRIVIAL, Results
from unroll.terminal import duration, moment

_DOTS_PER_INCH = 150
_SHARE_LEFT = 1e-3


def write_report(results: Results, folder: Path) -> Path:
    """The path of report.html. What the folder holds under the same names is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(results.model_dump_json(indent=2), encoding="utf-8")
    figures = draw(results)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=_DOTS_PER_INCH)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"moment": moment, "duration": duration}
    template = environment.from_string((files("unroll.lecture") / "report.html").read_text(encoding="utf-8"))
    page = template.render(
        results=results,
        figures={name: _address(figure) for name, figure in figures.items()},
        trivial=ADDING_TRIVIAL,
        share_left=_SHARE_LEFT,
        pairs=lambda before, after: zip(before, after, strict=True),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _address(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
