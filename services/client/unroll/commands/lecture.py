"""`lecture`: runs the experiments of `unroll.lecture` on the server and leaves their report. Knows no experiment."""

import importlib.util
import time
from pathlib import Path
from typing import Annotated

import typer

import unroll
from unroll.errors import ConfigurationError
from unroll.help_text import MODELS, add_command
from unroll.terminal import duration, note

_NEEDED = ("jinja2", "matplotlib", "numpy", "safetensors")
_SHORTEST_TEXT = 50_000


def register(app: typer.Typer) -> None:
    examples = ("unroll lecture --quick", "unroll lecture --seeds 7 --text book.txt --out report")
    add_command(app, "lecture", lecture, panel=MODELS, examples=examples)


def lecture(
    folder: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the report goes.")] = Path("lecture"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A few minutes instead of half an hour: two seeds, less training.")
    ] = False,
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="Runs of each setting.", show_default="5")] = None,
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text of the language model.", show_default="Python's documentation"),
    ] = None,
) -> None:
    """Train RNN, LSTM and GRU and see a gradient vanish.

    All at equal size, on the adding problem and on a text; leaves tables and plots, as HTML and PNG.
    Every network is a job of the server. Interrupted and started again, it goes on with the jobs that it had queued.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"`unroll lecture` needs {', '.join(missing)}; install them with: pip install 'unroll[lecture]'"
        )
    # Here: no other command needs NumPy and matplotlib.
    from unroll.lecture.experiments import run_lecture
    from unroll.lecture.report import write_report
    from unroll.lecture.results import FULL, QUICK

    plan = QUICK if quick else FULL
    if seeds is not None:
        plan = plan.model_copy(update={"seeds": seeds})
    name, content = _text(text)
    began_at = time.monotonic()

    def say(line: str) -> None:
        note(f"{duration(time.monotonic() - began_at):>7}  {line}")

    with unroll.Client() as client:
        results = run_lecture(client, plan, text=content, text_name=name, say=say)
    typer.echo(write_report(results, folder))


def _text(path: Path | None) -> tuple[str, str]:
    if path is None:
        import pydoc_data.topics  # half a megabyte that only this default needs

        return "Python's documentation", "".join(pydoc_data.topics.topics.values())
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--text {path} cannot be read: {error}") from error
    if len(content) < _SHORTEST_TEXT:
        raise ConfigurationError(
            f"--text {path} has {len(content)} characters, too few to compare networks on; need {_SHORTEST_TEXT}"
        )
    return path.name, content
