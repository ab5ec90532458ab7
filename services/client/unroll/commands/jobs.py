"""`jobs`, `jobs show`, `logs`, `cancel`, `pause`, `resume`: looks at jobs, steers them. Knows no live view."""

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.service import AsJson
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

JobId = Annotated[str, typer.Argument(metavar="JOB", show_default=False)]
SECONDS_BETWEEN_LOGS = 1.0


def register(app: typer.Typer) -> None:
    family = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    family.callback()(list_jobs)
    family.command("show")(show)
    app.add_typer(family, name="jobs")
    app.command("logs")(logs)
    app.command("cancel")(cancel)
    app.command("pause")(pause)
    app.command("resume")(resume)


def list_jobs(
    context: typer.Context,
    state: Annotated[
        str | None, typer.Option(help="queued, running, pausing, paused, succeeded, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first, or show one."""
    if context.invoked_subcommand is not None:
        return
    with unroll.Client() as client:
        records = list(client.jobs.list(state=state, limit=limit))
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
    job: JobId, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False
) -> None:
    """Print a job's log."""
    with unroll.Client() as client:
        seen = client.jobs.logs(job)
        _print_log(seen)
        if not follow:
            return
        fetched = time.monotonic()
        with closing(client.jobs.watch(job, on_outage=note)) as events:
            for _ in events:
                if time.monotonic() - fetched >= SECONDS_BETWEEN_LOGS:
                    seen = _print_new(seen, client.jobs.logs(job))
                    fetched = time.monotonic()
        _print_new(seen, client.jobs.logs(job))


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


def _print_new(seen: str, text: str) -> str:
    # The server may have dropped the head of a long log: `text` then starts somewhere within what was seen.
    places = (place for place in range(len(seen)) if text.startswith(seen[place : place + 64]))
    start = next((place for place in places if text.startswith(seen[place:])), len(seen))
    _print_log(text[len(seen) - start :])
    return text


def _print_log(text: str) -> None:
    typer.echo(visible(text) if is_interactive() else text, nl=False)
