"""A watched job on a terminal, redrawn in place with Rich. Knows no server; every text in it is made visible first."""

from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from unroll.job_progress import JobProgress
from unroll.line_views import state_line
from unroll.plot_view import COLOURS as CURVE_COLOURS
from unroll.plot_view import draw as draw_curves
from unroll.terminal import duration, number, one_line, visible
from unroll.types import Event

TEXT_LINES = 12
COLOURS = {"running": "green", "succeeded": "green", "failed": "red", "cancelled": "yellow"}
PLOT_HEIGHT = 6


class LiveView:
    """Bar, losses, speed, time left, state, and the text of the newest checkpoint."""

    def __init__(self, progress: JobProgress, console: Console | None = None) -> None:
        self._progress = progress
        self.console = console or Console(markup=False, highlight=False, emoji=False)
        self._live = Live(console=self.console, get_renderable=self._draw, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.stop()

    def refresh(self) -> None: ...  # the picture is drawn again four times a second anyway

    def show(self, event: Event) -> None:
        """Messages stay above the picture; all else is in it."""
        if event.type == "message":
            said = f"{event.data.get('level') or 'message'} {event.data.get('text')}"
            self.console.print(Text(one_line(said), style="yellow"))

    def _draw(self) -> Group:
        return draw(self._progress, self.console.width)


def draw(progress: JobProgress, width: int = 80) -> Group:
    """The picture of one moment."""
    parts: list[Text | Table | Panel | Group] = [_title(progress), _bar(progress), _numbers(progress)]
    if curves := draw_curves([progress.training, progress.validation], width, PLOT_HEIGHT):
        parts.append(curves)
    if progress.texts:
        parts.append(_written(progress))
    return Group(*parts)


def _title(progress: JobProgress) -> Text:
    spec = progress.record.spec
    model = spec.model
    shape = f"{model.get('cell', '?')} {model.get('num_layers', '?')}x{model.get('hidden_size', '?')}"
    return Text.assemble(
        (one_line(spec.name or progress.record.id), "bold"),
        f"  {one_line(shape)}  ",
        (state_line(progress), COLOURS.get(progress.state, "cyan")),
        overflow="ellipsis",
        no_wrap=True,
    )


def _bar(progress: JobProgress) -> Table:
    now = progress.latest
    limit = f"/{progress.max_steps}" if progress.max_steps else ""
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    said = f"{progress.ratio:4.0%}  step {now.get('step', 0)}{limit}  {duration(now.get('eta_seconds'))} left"
    row.add_row(ProgressBar(total=1.0, completed=progress.ratio), Text(said))
    return row


def _numbers(progress: JobProgress) -> Table:
    now = progress.latest
    row = Table.grid(padding=(0, 3))
    row.add_row(
        Text(f"train loss {number(now.get('train_loss'))}", style=CURVE_COLOURS[0]),
        Text(f"validation loss {number(now.get('validation_loss'))}", style=CURVE_COLOURS[1]),
        Text(f"{number(now.get('bits_per_character'))} bits/char", style="bold"),
        Text(f"{number(now.get('characters_per_second'), 0)} chars/s"),
    )
    return row


def _written(progress: JobProgress) -> Panel:
    prompt, text = progress.texts[0]
    lines = visible(text).split("\n")
    shown = Text.assemble((visible(prompt), "dim"), "\n".join(lines[:TEXT_LINES]))
    return Panel(shown, title=Text(f"what it writes at step {progress.text_step}"), title_align="left")
