"""`up down doctor drain backup restore gc` act on UNROLL_HOME or REDIS_URL: the server's own launcher does them."""

import importlib.util
import os
import sys

import typer

from unroll.errors import UnrollError
from unroll.help_text import MACHINE, add_command

LAUNCHER = "services.local"
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    for name, function, examples in (
        ("up", up, ("unroll up", "UNROLL_PORT=9000 unroll up --serve")),
        ("down", down, ("unroll down",)),
        ("doctor", doctor, ("unroll doctor", "unroll doctor --queue")),
        ("gc", gc, ("unroll gc --dry-run",)),
        ("drain", drain, ("unroll drain --wait", "unroll drain --off")),
        ("backup", backup, ("unroll backup unroll.tar.gz",)),
        ("restore", restore, ("unroll restore unroll.tar.gz",)),
    ):
        add_command(app, name, function, panel=MACHINE, examples=examples, context_settings=_PASS_ON)


def up(context: typer.Context) -> None:
    """Start the whole service and stay; Ctrl-C stops it."""
    launch("up", context.args)


def down(context: typer.Context) -> None:
    """Stop the service that runs on this machine."""
    launch("down", context.args)


def doctor(context: typer.Context) -> None:
    """Look for what keeps the service from running here."""
    launch("doctor", context.args)


def gc(context: typer.Context) -> None:
    """Delete stored files that no record refers to."""
    launch("gc", context.args)


def drain(context: typer.Context) -> None:
    """Take up no more jobs; running ones wait in the queue."""
    launch("drain", context.args)


def backup(context: typer.Context) -> None:
    """Write all that the service keeps into one file."""
    launch("backup", context.args)


def restore(context: typer.Context) -> None:
    """Fill an empty home from a backup."""
    launch("restore", context.args)


def launch(command: str, arguments: list[str]) -> None:
    """Become the server's launcher. Raises UnrollError where the server is not installed beside this client."""
    if not _has_server():
        raise UnrollError(
            f"`unroll {command}` needs the server on this machine: the distribution unroll-server is not installed "
            f"in {sys.prefix}; set UNROLL_URL to use a server elsewhere"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a folder named `services` where the user happens to stand is not the server.
    os.execv(sys.executable, [sys.executable, "-P", "-m", LAUNCHER, command, *arguments])


def _has_server() -> bool:
    try:
        return importlib.util.find_spec(LAUNCHER) is not None
    except ModuleNotFoundError:
        return False
