"""`usage`: what the tenant has used, by day. Knows no price."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

import unroll
from unroll.commands.arguments import AsJson
from unroll.help_text import ADMINISTRATION, add_command
from unroll.terminal import dump, duration, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import Amounts

_DAY = ["%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    examples = ("unroll usage", "unroll usage --from 2026-03-01 --to 2026-03-31 --json")
    add_command(app, "usage", usage, panel=ADMINISTRATION, examples=examples)


def usage(
    start: Annotated[
        dt.datetime | None,
        typer.Option("--from", metavar="DAY", formats=_DAY, help="First day, UTC.", show_default="30 before the last"),
    ] = None,
    end: Annotated[
        dt.datetime | None,
        typer.Option("--to", metavar="DAY", formats=_DAY, help="Last day, UTC.", show_default="today"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what your tenant has used, by day.

    Characters and steps trained, time of workers, tokens sampled.
    """
    with unroll.Client() as client:
        found = client.usage(start and start.date(), end and end.date())
    if as_json:
        print_json(dump(found))
        return
    rows = [_row(str(day.date), day) for day in found.days]
    header = ("DAY", "CHARACTERS", "STEPS", "WORKER TIME", "TOKENS SAMPLED")
    print_table(header, [*rows, _row("total", found.total)])
    print(f"{found.stored_bytes:,} bytes of data sets and checkpoints are stored now")


def _row(what: str, used: "Amounts") -> tuple[object, ...]:
    counts = (used.characters_trained, used.training_steps)
    return what, *(f"{count:,}" for count in counts), duration(used.worker_seconds), f"{used.tokens_sampled:,}"
