"""`jobs [show|delete]`, `logs`, `samples`, `cancel`, `pause`, `resume`: looks at jobs, steers them. No live view."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.arguments import AsJson, JobId
from unroll.commands.asked import pair
from unroll.completion import STATES, among
from unroll.help_text import JOBS, add_command, add_family
from unroll.queue_words import waits
from unroll.terminal import (
    dump,
    duration,
    is_interactive,
    moment,
    note,
    number,
    one_line,
    print_json,
    print_table,
    visible,
)

if TYPE_CHECKING:
    from unroll.types import JobRecord

SECONDS_BETWEEN_LOGS = 1.0


def register(app: typer.Typer) -> None:
    examples = (
        "unroll jobs --state running",
        "unroll jobs --metadata experiment=dropout --json",
    )
    family = add_family(app, "jobs", list_jobs, panel=JOBS, examples=examples)
    add_command(family, "show", show, examples=("unroll jobs show job-7c1e...",))
    add_command(family, "delete", delete, examples=("unroll jobs delete job-7c1e...",))
    logs_examples = ("unroll logs job-7c1e...", "unroll logs job-7c1e... --follow")
    add_command(app, "logs", logs, panel=JOBS, examples=logs_examples)
    samples_examples = ("unroll samples job-7c1e...", "unroll samples job-7c1e... --latest")
    add_command(app, "samples", samples, panel=JOBS, examples=samples_examples)
    add_command(app, "cancel", cancel, panel=JOBS, examples=("unroll cancel job-7c1e...",))
    add_command(app, "pause", pause, panel=JOBS, examples=("unroll pause job-7c1e...",))
    add_command(app, "resume", resume, panel=JOBS, examples=("unroll resume job-7c1e...",))


def list_jobs(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option(
            help="queued, running, pausing, paused, succeeded, failed or cancelled.", autocompletion=among(*STATES)
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="KEY=VALUE", help="Those that carry this pair; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first, or show one."""
    if context.invoked_subcommand is not None:
        return
    with unroll.Client() as client:
        records = list(client.jobs.list(state=state, metadata=dict(map(pair, metadata or [])), limit=limit))
    if as_json:
        print_json([dump(record) for record in records])
        return
    header: tuple[str, ...] = ("ID", "STATE", "NAME", "CELL", "STEP", "DONE", "BITS/CHAR", "CREATED")
    rows = [_row(record) for record in records]
    if any(record.queue for record in records):
        header += ("WAITS",)
        rows = [(*row, record.queue and waits(record.queue)) for row, record in zip(rows, records, strict=True)]
    print_table(header, rows)
    if len(records) == limit:
        note(f"the newest {limit}; more with --limit")


def show(job: JobId, as_json: AsJson = False) -> None:
    """Show one job: its state, its scores, and the spec with every default resolved."""
    with unroll.Client() as client:
        record = client.jobs.get(job)
    if as_json:
        print_json(dump(record))
        return
    for name, value in _facts(record):
        if value is not None:
            typer.echo(f"{name:<12} {one_line(value)}")


def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each line as one of JSON Lines.")] = False,
) -> None:
    """Print a job's log."""
    show = _print_lines if as_json else _print_log
    with unroll.Client() as client:
        seen = client.jobs.logs(job)
        show(seen)
        if not follow:
            return
        fetched = time.monotonic()
        with closing(client.jobs.watch(job, on_outage=note)) as events:
            for _ in events:
                if time.monotonic() - fetched >= SECONDS_BETWEEN_LOGS:
                    seen = _print_new(seen, client.jobs.logs(job), show)
                    fetched = time.monotonic()
        _print_new(seen, client.jobs.logs(job), show)


def samples(
    job: JobId,
    latest: Annotated[bool, typer.Option("--latest", help="What it wrote at its last checkpoint alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a job wrote at its checkpoints.

    Oldest first; those of deleted checkpoints are kept.
    """
    with unroll.Client() as client:
        found = list(client.jobs.samples(job))
    found = found[-1:] if latest else found
    if as_json:
        print_json([dump(one) for one in found])
        return
    for one in found:
        score = "" if one.bits_per_character is None else f", {number(one.bits_per_character)} bits per character"
        typer.echo(f"step {one.step}{score}")
        for sample in one.samples:
            for line in visible(f"{sample.get('prompt', '')}{sample.get('text', '')}").split("\n"):
                typer.echo(f"  | {line}")
    if not found:
        note(f"{job} has written nothing yet")


def cancel(job: JobId, as_json: AsJson = False) -> None:
    """Cancel a job. One that has ended stays as it is."""
    with unroll.Client() as client:
        record = client.jobs.cancel(job)
    if as_json:
        print_json(dump(record))
        return
    is_ending = record.cancel_requested and not record.is_terminal
    typer.echo(f"{record.state}, ends at its next step" if is_ending else record.state)


def pause(job: JobId, as_json: AsJson = False) -> None:
    """Set a job aside; a running one stops after its step. It goes on exactly there with `unroll resume`."""
    with unroll.Client() as client:
        record = client.jobs.pause(job)
    if as_json:
        print_json(dump(record))
        return
    typer.echo("pausing, stops after its step" if record.state == "pausing" else record.state)


def resume(job: JobId, as_json: AsJson = False) -> None:
    """Queue a paused job again. A pause that is under way is withdrawn."""
    with unroll.Client() as client:
        record = client.jobs.resume(job)
    if as_json:
        print_json(dump(record))
        return
    typer.echo(record.state)


def delete(job: JobId, as_json: AsJson = False) -> None:
    """Delete a job that has ended, with its checkpoints, history and log."""
    with unroll.Client() as client:
        answer = client.jobs.delete(job)
    if as_json:
        print_json(answer)
    else:
        note(f"{job} is deleted")


def _row(record: "JobRecord") -> tuple[object, ...]:
    best = record.best or record.last
    bits = number(best.bits_per_character) if best else None
    done = f"{record.progress.ratio:.0%}"
    created = moment(record.created_at)
    cell = record.spec.model.get("cell")
    return record.id, record.state, record.spec.name, cell, record.progress.step, done, bits, created


def _facts(record: "JobRecord") -> list[tuple[str, Any]]:
    queue, best, error = record.queue, record.best, record.error
    facts: list[tuple[str, Any]] = [
        ("id", record.id),
        ("name", record.spec.name),
        ("state", record.state),
        ("waits", waits(queue) if queue else None),
        ("dataset", record.spec.dataset),
        ("created", moment(record.created_at)),
        ("started", moment(record.started_at)),
        ("finished", moment(record.finished_at)),
        ("attempt", record.attempt),
        ("fused with", ", ".join((record.placement or {}).get("fused_with") or []) or None),
        ("step", f"{record.progress.step} ({record.progress.ratio:.0%})"),
        ("time left", duration(record.progress.eta_seconds) if record.state == "running" else None),
    ]
    if best:
        text = f"{number(best.bits_per_character)} bits per character at step {best.step}"
        facts.append(("best", text))
    if error:
        facts += [("error", f"{error.type}: {error.message}"), ("hint", error.hint)]
    facts += [("warning", warning) for warning in record.warnings]
    facts += [(f"model.{name}", value) for name, value in record.spec.model.items()]
    facts += [(f"train.{name}", value) for name, value in record.spec.train.items()]
    return facts


def _print_new(seen: str, text: str, show: Callable[[str], None]) -> str:
    # The server may have dropped the head of a long log: `text` then starts somewhere within what was seen.
    places = (place for place in range(len(seen)) if text.startswith(seen[place : place + 64]))
    start = next((place for place in places if text.startswith(seen[place:])), len(seen))
    show(text[len(seen) - start :])
    return text


def _print_log(text: str) -> None:
    typer.echo(visible(text) if is_interactive() else text, nl=False)


def _print_lines(text: str) -> None:
    for line in text.splitlines():
        print_json({"line": line}, is_line=True)
