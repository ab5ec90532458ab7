"""The `unroll` command: which commands there are, and how an error becomes an exit code. Knows no command from within.

Exit codes: 0 ok, 1 error, 2 usage, 3 the job failed, 4 auth, 5 not found, 6 server unreachable, 7 timed out while
still running, 8 cancelled, 9 refused by quota, 130 interrupted.
"""

import sys
from typing import Any

import typer

from unroll.commands import (
    answers,
    compare,
    datasets,
    jobs,
    keys,
    lecture,
    machine,
    models,
    pull,
    service,
    submit,
    sweep,
    tenants,
    usage,
    verify,
    watch,
    webhooks,
)
from unroll.errors import UnrollError
from unroll.help_text import Family
from unroll.terminal import note

INTERRUPTED = 130


class Commands(Family):
    """Turns what a command raises into a message on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UnrollError as error:
            note(f"unroll: {error}")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    name="unroll",
    cls=Commands,
    help="Train, watch and sample recurrent networks on an Unroll server.",
    epilog="""unroll submit book.txt --max-steps 2000 --watch
unroll sample JOB --prompt "Once upon"
unroll COMMAND --help""",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# In the order in which the help shows them.
for commands in (
    submit,
    watch,
    jobs,
    verify,
    sweep,
    answers,
    models,
    compare,
    pull,
    lecture,
    datasets,
    service,
    machine,
    keys,
    tenants,
    usage,
    webhooks,
):
    commands.register(app)


def main() -> None:
    """Entry point of the `unroll` command."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # an old locale must not end a watch
    try:
        app(prog_name="unroll")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
