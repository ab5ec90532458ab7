"""A watched job as lines, for pipes and logs: plain words, or the events as JSON Lines. Knows no colour."""

from collections.abc import Callable
from typing import Self

import typer

from unroll.job_progress import JobProgress
from unroll.queue_words import REASONS, waits
from unroll.terminal import dump, duration, number, one_line, print_json, visible
from unroll.types import Event, QueuePlace


class LinesView:
    """A line for each state, validation, checkpoint and message."""

    def __init__(self, progress: JobProgress, say: Callable[[str], None] = typer.echo) -> None:
        self._say = say
        self._progress = progress
        self._queued: tuple[str | None, QueuePlace | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None: ...

    def refresh(self) -> None:
        """A line for each new place in the queue, not for each new guess at a time; the rest is said by events."""
        progress = self._progress
        place = progress.queue and progress.queue.model_copy(update={"eta_seconds": None})
        if progress.state == "queued" and (progress.reason, place) != self._queued:
            self._say(state_line(progress))
            self._queued = (progress.reason, place)

    def show(self, event: Event) -> None:
        progress, data = self._progress, event.data
        if event.type == "state" and progress.state == "queued":
            self.refresh()
        elif event.type == "state":
            self._queued = None
            self._say(state_line(progress))
        elif event.type == "metrics" and data.get("validation_loss") is not None:
            self._say(validation_line(progress))
        elif event.type == "checkpoint":
            self._say(f"checkpoint {one_line(data.get('model'))}")
            for prompt, text in progress.texts if data.get("samples") else []:
                for line in visible(prompt + text).split("\n"):
                    self._say(f"  | {line}")
        elif event.type == "message":
            self._say(f"{one_line(data.get('level') or 'message')} {one_line(data.get('text'))}")


class JsonLinesView:
    """Each event as it came, one a line."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None: ...

    def refresh(self) -> None: ...

    def show(self, event: Event) -> None:
        print_json(dump(event), is_line=True)


def state_line(progress: JobProgress) -> str:
    """`queued (position 2, waits for a free worker, starts in about 1m 30s)`, `running (attempt 1)`."""
    said = []
    if progress.queue is not None:
        said.append(waits(progress.queue))
    elif progress.reason and progress.reason != progress.state:
        said.append(one_line(REASONS.get(progress.reason, progress.reason)))
    if progress.state == "running" and progress.attempt:
        said.append(f"attempt {progress.attempt}")
    return one_line(progress.state) + (f" ({', '.join(said)})" if said else "")


def validation_line(progress: JobProgress) -> str:
    """Where the job stands and how well it does, losses in nats per symbol."""
    now = progress.latest
    limit = f"/{progress.max_steps}" if progress.max_steps else ""
    parts = (
        f"step {now.get('step')}{limit}",
        f"{progress.ratio:.0%}",
        f"train {number(now.get('train_loss'))}",
        f"validation {number(now.get('validation_loss'))}",
        f"{number(now.get('bits_per_character'))} bits/char",
        f"{number(now.get('characters_per_second'), 0)} chars/s",
        f"{duration(now.get('eta_seconds'))} left",
    )
    return "  ".join(parts)
