"""`status` and `version`: what answers, and what asks. Knows no single job."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import typer

import unroll
from unroll.commands.arguments import AsJson
from unroll.help_text import SERVICE, add_command
from unroll.terminal import one_line, print_json

if TYPE_CHECKING:
    from unroll.types import JobRecord

MOST_COUNTED = 1000


def register(app: typer.Typer) -> None:
    add_command(app, "status", status, panel=SERVICE, examples=("unroll status", "unroll status --json"))
    add_command(app, "version", version, panel=SERVICE, examples=("unroll version",))


def status(as_json: AsJson = False) -> None:
    """Say where the server is and whether it is ready.

    And what waits, runs and works. Exit 1 while it is not ready.
    """
    with unroll.Client() as client:
        readiness = client.readiness()
        found: dict[str, object] = {"url": client.url, "is_ready": readiness.is_ready}
        if readiness.is_ready:
            found["queue_depth"] = _count(client.jobs.list(state="queued", limit=MOST_COUNTED))
            found["running_jobs"] = _count(client.jobs.list(state="running", limit=MOST_COUNTED))
            found["workers"] = dict(Counter(worker.state for worker in client.workers()))
    if as_json:
        print_json({**found, "detail": readiness.detail})
    else:
        checks = readiness.detail.get("checks")
        found["is_ready"] = "yes" if readiness.is_ready else "no"
        if readiness.is_ready:
            found["workers"] = _counted(found["workers"])
        for name, value in {**found, **(checks if isinstance(checks, dict) else {})}.items():
            typer.echo(f"{one_line(name).removeprefix('is_').replace('_', ' '):<13} {one_line(value)}")
    if not readiness.is_ready:
        raise typer.Exit(1)


def version(as_json: AsJson = False) -> None:
    """Print the version of this client."""
    import importlib.metadata  # a tenth of the time in which the help has to answer

    found = importlib.metadata.version("unroll")
    if as_json:
        print_json({"version": found})
    else:
        typer.echo(found)


def _counted(states: object) -> str:
    """`1 busy, 3 idle`."""
    counts = sorted(states.items()) if isinstance(states, dict) else []
    return ", ".join(f"{count} {state}" for state, count in counts) or "none: no dispatcher tells of any"


def _count(jobs: "Iterator[JobRecord]") -> int:
    return sum(1 for _ in islice(jobs, MOST_COUNTED))
