"""`reference/cli.md`: every command with its arguments, options and examples, from Typer and from the launcher's argparse."""

import argparse
from collections.abc import Iterator
from typing import Any

import typer
from unroll.cli import app

from docs.generate.markdown import code, table
from services.local import command_line

_PAGE = """\
# Command line

Data goes to stdout and messages to stderr. `--json` prints what the server answered (one object a line where a command follows
something), which suits scripts better than tables. There is no colour where the output is not a terminal. Ctrl-C while watching
detaches; it never cancels. Exit codes stand in [Errors](errors.md#exit-codes-of-unroll).

`unroll --install-completion` teaches your shell to complete commands, options, and the ids of your jobs, models and data sets.

{commands}"""


def cli_page() -> str:
    launcher = _launcher()
    parts: list[str] = []
    root: Any = typer.main.get_command(app)
    panels: dict[str, list[tuple[str, Any]]] = {}
    for name, command in root.commands.items():
        panels.setdefault(command.rich_help_panel or "Commands", []).append((name, command))
    for panel, commands in panels.items():
        parts.append(f"## {panel}\n")
        for name, command in commands:
            parts += _family(f"unroll {name}", command) if hasattr(command, "commands") else []
            if not hasattr(command, "commands"):
                parts.append(_command(f"unroll {name}", command, launcher.get(name)))
    return _PAGE.format(commands="\n".join(parts))


def _family(path: str, group: Any) -> Iterator[str]:
    yield _command(path, group)
    for name, command in group.commands.items():
        yield _command(f"{path} {name}", command)


def _command(path: str, command: Any, launched: argparse.ArgumentParser | None = None) -> str:
    """`launched`: what reads the options of a command that the client hands on."""
    parts = [f"### `{path}`\n", f"{_prose(command.help)}\n"]
    rows = list(_records(command) if launched is None else _launched_rows(launched))
    if rows:
        parts.append(table(("option or argument", "what"), rows))
    if examples := (command.epilog or "").splitlines():
        parts.append("\n".join(["```text", *(f"$ {example}" for example in examples), "```\n"]))
    return "\n".join(parts)


def _launcher() -> dict[str, argparse.ArgumentParser]:
    """The launcher's parser of each of its commands."""
    (commands,) = (a for a in command_line()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(commands.choices)


def _launched_rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        takes = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        names = ", ".join(action.option_strings)
        yield code(" ".join(filter(None, (names, takes)))), str(action.help or "")


def _records(command: Any) -> Iterator[tuple[str, str]]:
    context = typer.Context(command)
    for parameter in command.params:
        if parameter.name not in ("help", "install_completion", "show_completion"):
            names, said = parameter.get_help_record(context)
            yield code(names), said


def _prose(text: str | None) -> str:
    return " ".join((text or "").replace("\b", "").split())
