"""`watch`: follow jobs to their end, or detach. Knows which view fits where; the views are elsewhere."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import typer

import unroll
from unroll.commands.arguments import AsJson, JobIds, Timeout
from unroll.help_text import JOBS, add_command
from unroll.terminal import note

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    examples = ("unroll watch job-7c1e...", "unroll watch job-7c1e... job-90ab... --json")
    add_command(app, "watch", watch, panel=JOBS, examples=examples)


def watch(
    jobs: JobIds,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Watch jobs until they end.

    One, or several at once. Ctrl-C detaches: the jobs go on.

    Exit 0 when all succeeded, 3 when one failed, 8 when one was cancelled.
    """
    if len(set(jobs)) == 1:
        with unroll.Client() as client:
            watch_job(client, jobs[0], as_json=as_json, timeout_seconds=timeout)
        return
    watching = importlib.import_module("unroll.watch_many")  # here, because it loads Rich
    with detaching("the jobs go on", f"unroll watch {' '.join(jobs)}"):
        watching.run(list(dict.fromkeys(jobs)), as_json=as_json, timeout_seconds=timeout)


def watch_job(
    client: "unroll.Client", job: str, *, as_json: bool = False, timeout_seconds: float | None = None
) -> None:
    """Show `job` until it ends. Raises JobFailedError, JobCancelledError, WaitTimeoutError, ServerUnreachableError."""
    watching = importlib.import_module("unroll.watch")  # here, because it loads Rich
    with detaching("the job goes on", f"unroll watch {job}"):
        watching.run(client, job, as_json=as_json, timeout_seconds=timeout_seconds)


@contextmanager
def detaching(what: str, command: str) -> Iterator[None]:
    """Ctrl-C within ends the command with 130, and says what goes on and how to come back."""
    try:
        yield
    except KeyboardInterrupt as error:
        note(f"\ndetached; {what}. Come back with: {command}")
        raise typer.Exit(INTERRUPTED) from error
