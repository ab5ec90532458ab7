"""Following one sweep: a table redrawn in place on a terminal, else a line for each trial that changed."""

from collections.abc import Iterator
from typing import Protocol

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from unroll.client import Client
from unroll.commands.sweep import trial_state, values_line
from unroll.outcomes import sweep_succeeded
from unroll.terminal import dump, is_live_terminal, note, number, one_line, print_json
from unroll.types import SweepReport, Trial

MOST_ROWS = 20
_COLOURS = {"running": "green", "succeeded": "green", "failed": "red", "cancelled": "yellow"}


class View(Protocol):
    def show(self, report: SweepReport, trials: list[Trial], /) -> None: ...
    def close(self) -> None: ...


def run(client: Client, sweep: str, *, as_json: bool = False, timeout_seconds: float | None = None) -> None:
    """Show `sweep` until it has succeeded.

    Raises JobFailedError, JobCancelledError, WaitTimeoutError, ServerUnreachableError, NotFoundError.
    """
    view: View = JsonLines() if as_json else Picture() if is_live_terminal() else Lines()
    report = None
    try:
        for report in client.sweeps.watch(sweep, timeout_seconds=timeout_seconds):
            view.show(report, list(client.sweeps.trials(sweep)))
    finally:
        view.close()
    assert report is not None
    sweep_succeeded(report)
    if report.warning:
        note(f"warning: {report.warning}")
    if not as_json and report.best:
        best = report.best
        note(f"best {number(best.value, 4)} with {values_line(best.parameters)}; go on with: unroll sample {best.job}")


class Lines:
    """A line for each trial whose state, rung or score has changed."""

    def __init__(self) -> None:
        self._seen: dict[int, str] = {}

    def show(self, _: SweepReport, trials: list[Trial]) -> None:
        for trial in self._changed(trials):
            self._tell(trial)

    def close(self) -> None: ...

    def _changed(self, trials: list[Trial]) -> Iterator[Trial]:
        for trial in trials:
            told = trial.model_copy(update={"step": 0, "worker_seconds": 0.0}).model_dump_json()
            if self._seen.get(trial.number) != told:
                self._seen[trial.number] = told
                yield trial

    def _tell(self, trial: Trial) -> None:
        said = trial.error.message if trial.error else values_line(trial.parameters)
        typer.echo(one_line(f"trial {trial.number}  {trial_state(trial)}  {number(trial.value, 4)}  {said}"))


class JsonLines(Lines):
    """The same as JSON Lines."""

    def _tell(self, trial: Trial) -> None:
        print_json(dump(trial), is_line=True)


class Picture:
    """The best trials and those at work, redrawn in place."""

    def __init__(self) -> None:
        console = Console(markup=False, highlight=False, emoji=False)
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, report: SweepReport, trials: list[Trial]) -> None:
        self._live.update(draw(report, trials), refresh=True)

    def close(self) -> None:
        self._live.stop()


def draw(report: SweepReport, trials: list[Trial]) -> Table:
    """The picture of one moment."""
    over = sum(trial.state not in ("queued", "running", "pausing", "paused") for trial in trials)
    said = f"{over} of {len(trials)} trials over, {report.num_stopped_early} stopped early"
    name = (report.spec or {}).get("name") or report.id
    title = f"{name}  {report.state}  {said}  {report.worker_seconds:,.0f} s of workers"
    table = Table(title=Text(one_line(title)), title_justify="left", box=None, pad_edge=False)
    for header in ("trial", "state", "step", "value", "values"):
        table.add_column(header, overflow="ellipsis", no_wrap=True)
    for trial in _shown(report, trials):
        style = "bold" if report.best and trial.number == report.best.number else _COLOURS.get(trial.state, "")
        cells = (trial.number, trial_state(trial), trial.step, number(trial.value, 4), values_line(trial.parameters))
        table.add_row(*(Text(one_line(cell), style=style) for cell in cells))
    return table


def _shown(report: SweepReport, trials: list[Trial]) -> list[Trial]:
    """Those at work, then the best; the server has the points in that order."""
    places = {number: place for place, point in enumerate(report.points) for number in point.trials}
    at_work = [trial for trial in trials if trial.state in ("running", "pausing")]
    rest = [trial for trial in trials if trial not in at_work and trial.value is not None]
    return (at_work + sorted(rest, key=lambda trial: places.get(trial.number, len(trials))))[:MOST_ROWS]
