"""What `--help` looks like: commands and options under headings, examples below. Knows no command.

Without Rich: its panels take half of the time in which the help has to answer, and are in the way in a pipe.
"""

from collections.abc import Callable, Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

JOBS = "Jobs"
SWEEPS = "Sweeps"
MODELS = "Models"
DATA = "Data sets"
SERVICE = "Service"
MACHINE = "This machine"
ADMINISTRATION = "Administration"
PANELS = (JOBS, SWEEPS, MODELS, DATA, SERVICE, MACHINE, ADMINISTRATION)


class Command(TyperCommand):
    """A command whose options stand under the headings they name, with its examples below."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # Typer calls it so
        _write_examples(self.epilog, formatter)


class Family(TyperGroup):
    """Commands under the headings they name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found: list[tuple[str, Any]] = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        widest = max(len(name) for name, _ in found)
        sections: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for name, command in found:
            panel = command.rich_help_panel if isinstance(command.rich_help_panel, str) else "Commands"
            said = command.get_short_help_str(formatter.width - 6 - widest)
            sections.setdefault(panel, []).append((name.ljust(widest), said))
        _write_sections({panel: rows for panel, rows in sections.items() if rows}, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # Typer calls it so
        _write_examples(self.epilog, formatter)


def add_command(
    app: typer.Typer,
    name: str,
    function: Callable[..., None],
    *,
    panel: str | None = None,
    examples: Iterable[str] = (),
    **how: Any,
) -> None:
    """Adds `function` as a command, in the section `panel` of the help."""
    app.command(name, cls=Command, rich_help_panel=panel, epilog=_joined(examples), **how)(function)


def add_family(
    app: typer.Typer, name: str, function: Callable[..., None], *, panel: str, examples: Iterable[str] = ()
) -> typer.Typer:
    """Adds a command that has commands; `function` runs where none of them is named."""
    family = typer.Typer(cls=Family, rich_markup_mode=None, invoke_without_command=True)
    family.callback(cls=Family, invoke_without_command=True, epilog=_joined(examples))(function)
    app.add_typer(family, name=name, rich_help_panel=panel)
    return family


def _joined(examples: Iterable[str]) -> str | None:
    return "\n".join(examples) or None


def _write_parameters(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        if (record := parameter.get_help_record(ctx)) is None:
            continue
        usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
        panel = getattr(parameter, "rich_help_panel", None)
        sections.setdefault(panel if isinstance(panel, str) else usual, []).append(record)
    plain = sections.pop("Options", None)
    _write_sections({**sections, **({"Options": plain} if plain else {})}, formatter)


def _write_sections(sections: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    for heading, rows in sections.items():
        with formatter.section(typer.style(heading, bold=True)):
            formatter.write_dl(rows)


def _write_examples(epilog: str | None, formatter: Any) -> None:
    if not epilog:
        return
    with formatter.section(typer.style("Examples", bold=True)):
        for line in epilog.splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
