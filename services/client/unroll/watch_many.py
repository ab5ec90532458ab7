"""Following several jobs at once: a table redrawn in place on a terminal, else lines that name their job."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from unroll.aio.client import AsyncClient
from unroll.curves import spark, thinned
from unroll.errors import JobCancelledError, JobFailedError, UnrollError
from unroll.job_progress import JobProgress
from unroll.line_views import LinesView, state_line
from unroll.live_view import COLOURS
from unroll.outcomes import succeeded
from unroll.terminal import dump, duration, is_live_terminal, note, number, one_line, print_json
from unroll.types import Event

SPARK_WIDTH = 16


class View(Protocol):
    """What shows the jobs: `show` after an event of one of them."""

    def __enter__(self) -> object: ...
    def __exit__(self, *details: object) -> None: ...
    def show(self, progress: JobProgress, event: Event) -> None: ...


def run(jobs: Sequence[str], *, as_json: bool = False, timeout_seconds: float | None = None) -> None:
    """Show `jobs` until all have ended; one that fails leaves the others watched.

    Raises as watching one of them does: a failure before a cancel, and the first of several.
    """
    ends = asyncio.run(_watch_all(jobs, as_json, timeout_seconds))
    faults = [end for end in ends if isinstance(end, BaseException)]
    for fault in faults:
        if isinstance(fault, UnrollError) and fault is not _worst(faults):
            note(f"unroll: {fault}")
    if faults:
        raise _worst(faults)
    if not as_json:
        note(f"all {len(jobs)} succeeded; see them side by side with: unroll compare {' '.join(jobs)}")


def _worst(faults: Sequence[BaseException]) -> BaseException:
    """Anything that is no end of a job, else a failure, else a cancel."""
    order = (JobCancelledError, JobFailedError)
    return max(faults, key=lambda fault: order.index(type(fault)) if type(fault) in order else len(order))


async def _watch_all(jobs: Sequence[str], as_json: bool, timeout_seconds: float | None) -> list[BaseException | None]:
    async with AsyncClient() as client:
        found = [JobProgress(await client.jobs.get(job)) for job in jobs]
        view: View = Json() if as_json else Picture(found) if is_live_terminal() else Lines(found)
        with view:
            return await asyncio.gather(
                *(_watch(client, progress, view, timeout_seconds) for progress in found), return_exceptions=True
            )


async def _watch(client: AsyncClient, progress: JobProgress, view: View, timeout_seconds: float | None) -> None:
    job = progress.record.id
    async with aclosing(client.jobs.follow(job, timeout_seconds=timeout_seconds, on_outage=note)) as events:
        async for event in events:
            progress.apply(event)
            if progress.state == "queued":
                progress.place(await client.jobs.get(job))
            view.show(progress, event)
    succeeded(await client.jobs.get(job))


class Json:
    """Each event as it came, with the job it is of, one a line."""

    def __enter__(self) -> None: ...
    def __exit__(self, *details: object) -> None: ...

    def show(self, progress: JobProgress, event: Event) -> None:
        print_json({"job": progress.record.id, **dump(event)}, is_line=True)


class Lines:
    """The lines of each job, led by its name."""

    def __init__(self, jobs: Sequence[JobProgress]) -> None:
        self._views = {job.record.id: LinesView(job, say=_led(job)) for job in jobs}

    def __enter__(self) -> None: ...
    def __exit__(self, *details: object) -> None: ...

    def show(self, progress: JobProgress, event: Event) -> None:
        self._views[progress.record.id].show(event)


class Picture:
    """A row for each job, redrawn in place."""

    def __init__(self, jobs: Sequence[JobProgress]) -> None:
        self._jobs = jobs
        console = Console(markup=False, highlight=False, emoji=False)
        self._live = Live(console=console, get_renderable=lambda: draw(self._jobs), refresh_per_second=4)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *details: object) -> None:
        self._live.stop()

    def show(self, progress: JobProgress, event: Event) -> None: ...  # it is drawn again four times a second anyway


def draw(jobs: Sequence[JobProgress]) -> Table:
    """The picture of one moment."""
    table = Table(box=None, pad_edge=False)
    for header in ("job", "state", "done", "step", "train", "validation", "bits/char", "chars/s", "left", ""):
        table.add_column(header, overflow="ellipsis", no_wrap=True)
    for job in jobs:
        now = job.latest
        table.add_row(
            Text(one_line(job.record.spec.name or job.record.id), style="bold"),
            Text(state_line(job), style=COLOURS.get(job.state, "cyan")),
            f"{job.ratio:.0%}",
            str(now.get("step", "-")),
            number(now.get("train_loss")),
            number(now.get("validation_loss")),
            number(now.get("bits_per_character")),
            number(now.get("characters_per_second"), 0),
            duration(now.get("eta_seconds")),
            spark(thinned([y for _, y in job.validation], SPARK_WIDTH)),
        )
    return table


def _led(progress: JobProgress) -> Callable[[str], None]:
    name = one_line(progress.record.spec.name or progress.record.id)
    return lambda line: typer.echo(f"{name}  {line}")
