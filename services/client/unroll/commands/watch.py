"""`watch`: follow a job to its end, or detach. Knows which view fits where; the views are elsewhere."""

import importlib
from typing import Annotated

import typer

import unroll
from unroll.commands.service import AsJson
from unroll.terminal import note

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    app.command("watch")(watch)


def watch(
    job: Annotated[str, typer.Argument(metavar="JOB", show_default=False)],
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Give up watching after so long: exit 7.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch a job until it ends. Ctrl-C detaches: the job goes on.

    Exit 0 when it succeeded, 3 when it failed, 8 when it was cancelled.
    """
    with unroll.Client() as client:
        watch_job(client, job, as_json=as_json, timeout_seconds=timeout)


def watch_job(
    client: "unroll.Client", job: str, *, as_json: bool = False, timeout_seconds: float | None = None
) -> None:
    """Show `job` until it ends. Raises JobFailedError, JobCancelledError, WaitTimeoutError, ServerUnreachableError."""
    watching = importlib.import_module("unroll.watch")  # here, because it loads Rich
    try:
        watching.run(client, job, as_json=as_json, timeout_seconds=timeout_seconds)
    except KeyboardInterrupt as error:
        note(f"\ndetached; the job goes on. Come back with: unroll watch {job}")
        raise typer.Exit(INTERRUPTED) from error
