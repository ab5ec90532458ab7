"""Runbooks and docs/monitoring.md: a page for each alert, and nothing on any of them that does not exist."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from unroll.cli import app
from watching import alerts, dashboards, panels, recorded

from deploy.prometheus.build import page
from services.faults import TABLE
from services.metrics import METRICS
from services.operations import add_commands
from services.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
ALL_PAGES = [*PAGES, ROOT / "docs" / "monitoring.md"]
PROGRAMS = ("unroll", "docker", "kubectl", "promtool", "python3", "curl", "cat", "export")
NO_TABLES = re.compile(r"^\|.*$", re.MULTILINE)


def name_of(path: Path) -> str:
    return path.stem


def text_of(path: Path) -> str:
    """What is written by hand."""
    return NO_TABLES.sub("", path.read_text())


def commands(path: Path) -> Iterator[list[str]]:
    """Every command of a page, as a shell would split it: those in blocks, and those between backticks."""
    text = text_of(path)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " ")
    inline = [code for code in re.findall(r"`([^`]+)`", rest) if re.match(r"(unroll|docker|kubectl|promtool) ", code)]
    for line in (*lines, *inline):
        yield from (shlex.split(part) for part in line.split(" && "))


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert [page.stem for page in PAGES] == sorted(alerts(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_runbook_says_what_it_means_how_to_see_and_what_to_do(path: Path) -> None:
    title, meaning, *rest = re.split(r"\n\n(?=[^-`])", path.read_text(), maxsplit=2)
    assert title == f"# {path.stem}"
    assert len(meaning) > 80
    assert re.findall(r"^## (.*)$", rest[0], re.MULTILINE) == ["How to see", "What to do"]
    seen, done = rest[0].split("## What to do")
    assert seen.count("```") == 2
    assert len(re.findall(r"^- ", done, re.MULTILINE)) >= 2


@pytest.mark.parametrize("path", ALL_PAGES, ids=name_of)
def test_every_command_exists(path: Path, compose: dict[str, Any]) -> None:
    found = list(commands(path))
    assert found
    for words in found:
        program, *arguments = words
        assert program in PROGRAMS
        if program == "unroll":
            _check_unroll(arguments)
        elif program == "docker":
            _check_compose(arguments, compose)
        elif program == "kubectl":
            _check_kubectl(arguments)


@pytest.mark.parametrize("path", ALL_PAGES, ids=name_of)
def test_whatever_is_named_is_there(path: Path) -> None:
    text = text_of(path)
    metrics = {metric.name for metric in METRICS}
    assert set(re.findall(r"\bunroll_[a-z_]+\b", text)) - metrics <= {"unroll_jobs"}
    assert set(re.findall(r"\bunroll:[a-z:_]+\b", text)) <= set(recorded(ROOT))
    settings = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert set(re.findall(r"\bUNROLL_[A-Z_]+\b", text)) <= settings
    assert set(re.findall(r"\bUnroll[A-Z][A-Za-z]+\b", text)) <= set(alerts(ROOT))
    for named in re.findall(r"\b(?:docs|deploy|tests|services)/[\w/.-]+\w", text):
        assert (ROOT / named).exists() or named.startswith("deploy/secrets/"), named
    for board, panel in re.findall(r"dashboard (\w+), ([A-Z][\w ]+):", text):
        assert panel in [one["title"] for one in panels(dashboards(ROOT)[board.lower()])]
    assert {name.lower() for name in re.findall(r"[Dd]ashboard ([A-Z]\w+)", text)} <= set(dashboards(ROOT))
    reasons = {fault.code for _, fault in TABLE} | {"poison", "worker_lost", "no_progress"}
    told = re.findall(r"^- (?:Fault |By reason )?((?:`[a-z_]+`(?:, | or )?)+):", text, re.MULTILINE)
    assert {reason for codes in told for reason in re.findall(r"`(\w+)`", codes)} <= reasons


def test_tables_of_alerts_and_metrics_are_what_is_declared() -> None:
    """`python -m deploy.prometheus.build` writes them."""
    text = (ROOT / "docs" / "monitoring.md").read_text()
    assert text == page(text)
    for metric in METRICS:
        assert text.count(f"| `{metric.name}` | {metric.kind} |") == 1
    for name in alerts(ROOT):
        assert f"(runbooks/{name}.md)" in text


def _check_unroll(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    name = "unroll"
    while arguments and arguments[0] in getattr(command, "commands", {}):
        name, *arguments = arguments
        command = command.commands[name]
    if name == "doctor":
        assert set(arguments) <= {"--queue"}
    elif name in ("drain", "backup", "restore", "gc"):
        parser = argparse.ArgumentParser(exit_on_error=False)
        add_commands(parser.add_subparsers(), print)
        parser.parse_args([name, *arguments])
    else:
        assert command.make_context(name, list(arguments)).command is command  # raises where an option is none


def _check_compose(arguments: list[str], compose: dict[str, Any]) -> None:
    assert arguments.pop(0) == "compose"
    while arguments[0] == "-f":
        assert (ROOT / arguments[1]).exists()
        arguments = arguments[2:]
    verb, *rest = arguments
    names = [word for word in rest if not word.startswith("-") and "=" not in word]
    assert verb in ("ps", "logs", "exec", "up", "restart")
    assert set(names[:1] if verb == "exec" else names) <= set(compose["services"])
    options = {
        "ps": set(),
        "exec": set(),
        "restart": set(),
        "logs": {"--tail"},
        "up": {"--detach", "--build", "--scale"},
    }
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options[verb]


def _check_kubectl(arguments: list[str]) -> None:
    assert arguments[:2] in (["--namespace", "unroll"], ["--namespace", "monitoring"])
    folder = ROOT / "deploy" / "kubernetes" / "base"
    objects = [one for path in folder.glob("*.yaml") for one in yaml.safe_load_all(path.read_text())]
    deployments = {one["metadata"]["name"] for one in objects if one["kind"] == "Deployment"}
    assert {word.partition("/")[2] for word in arguments if word.startswith("deployment/")} <= deployments
    assert arguments[2] in ("get", "logs", "describe", "scale", "create", "label")
