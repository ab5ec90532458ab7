"""Following one job: events in, a view kept up to date, the end reported. Knows no terminal; the views do."""

from contextlib import closing
from typing import Protocol

from unroll.client import Client
from unroll.errors import NotFoundError, ServerUnreachableError, ServiceUnavailableError
from unroll.job_progress import JobProgress
from unroll.line_views import JsonLinesView, LinesView
from unroll.live_view import LiveView
from unroll.outcomes import succeeded
from unroll.terminal import duration, is_live_terminal, note, number
from unroll.types import Event, JobRecord


class View(Protocol):
    """What shows one JobProgress: `show` after an event went into it, `refresh` after it changed otherwise."""

    def __enter__(self) -> object: ...
    def __exit__(self, *details: object) -> None: ...
    def show(self, event: Event) -> None: ...
    def refresh(self) -> None: ...


def run(client: Client, job: str, *, as_json: bool = False, timeout_seconds: float | None = None) -> None:
    """Show `job` until it has succeeded.

    Raises JobFailedError, JobCancelledError, WaitTimeoutError, ServerUnreachableError, NotFoundError.
    """
    progress = JobProgress(client.jobs.get(job))
    view = _view(progress, as_json=as_json)
    with view, closing(client.jobs.watch(job, timeout_seconds=timeout_seconds, on_outage=note)) as events:
        view.refresh()
        for event in events:
            if event is not None:
                progress.apply(event)
            if progress.state == "queued" and (record := _record_if_any(client, job)):
                progress.place(record)
            if event is None:
                view.refresh()
            else:
                view.show(event)
    record = succeeded(client.jobs.get(job))
    if not as_json:
        note(_farewell(record))


def _view(progress: JobProgress, *, as_json: bool) -> View:
    if as_json:
        return JsonLinesView()
    return LiveView(progress) if is_live_terminal() else LinesView(progress)


def _record_if_any(client: Client, job: str) -> JobRecord | None:
    try:
        return client.jobs.get(job)
    except (ServerUnreachableError, ServiceUnavailableError, NotFoundError):
        return None  # the stream of events decides what a lost server means


def _farewell(record: JobRecord) -> str:
    best = record.best or record.last
    took = duration(record.finished_at - record.started_at) if record.finished_at and record.started_at else "-"
    score = f"; best {number(best.bits_per_character)} bits per character at step {best.step}" if best else ""
    return f"succeeded in {took}{score}; let it write with: unroll sample {record.id}"
