"""The Dockerfile as it is written: what goes in, who runs, what is started. No engine is needed to read it."""

import fnmatch
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.dependencies import dependencies

Instructions = list[tuple[str, str]]


@pytest.fixture(scope="module")
def instructions(root: Path) -> Instructions:
    """(instruction, its words), continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (root / "deploy/Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


@pytest.fixture(scope="module")
def last_stage(instructions: Instructions) -> Instructions:
    """What becomes the image."""
    begins = max(number for number, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[begins:]


def test_image_runs_as_the_user_that_compose_names(last_stage: Instructions, compose: dict) -> None:
    users = {service["user"] for service in compose["services"].values() if "build" in service}
    assert users == {words for name, words in last_stage if name == "USER"} == {"10001:10001"}


def test_image_starts_the_app_unasked(last_stage: Instructions, compose: dict) -> None:
    command = json.loads(dict(last_stage)["CMD"])
    assert command == compose["services"]["app"]["command"]
    assert importlib.util.find_spec(command[-1]) is not None


def test_image_has_nothing_installed_by_apt_and_no_compiler(instructions: Instructions) -> None:
    assert [words for name, words in instructions if name == "FROM"] == [
        "python:3.11-slim AS build",
        "python:3.11-slim",
    ]
    assert not [words for _, words in instructions if re.search(r"\bapt\b|apt-get|gcc|build-essential", words)]
    assert "PIP_ONLY_BINARY=:all:" in dict(instructions[:4])["ENV"]


def test_folders_for_volumes_belong_to_the_user(last_stage: Instructions, compose: dict) -> None:
    made = next(words for name, words in last_stage if name == "RUN")
    targets = {
        volume.split(":")[1]
        for service in compose["services"].values()
        if "build" in service
        for volume in service.get("volumes", [])
    }
    assert targets == {"/var/lib/unroll/home", "/var/lib/unroll/storage"}
    assert targets < set(made.split())
    assert "--owner=unroll" in made


def test_everything_copied_exists_and_is_sent_to_the_build(instructions: Instructions, root: Path) -> None:
    sources = [
        source
        for name, words in instructions
        if name == "COPY" and not words.startswith("--from")
        for source in words.split()[:-1]
    ]
    assert {"requirements.lock", "pyproject.toml", "rnncore", "services", "workers"} < set(sources)
    for source in sources:
        assert (root / source).exists(), source
        assert _is_sent(root, source), source


@pytest.mark.parametrize("path", ["deploy/secrets/api_key", ".git/config", ".venv/bin/python", "docker-compose.yml"])
def test_what_an_image_is_not_made_of_is_not_sent(root: Path, path: str) -> None:
    assert not _is_sent(root, path)


def test_dependencies_are_those_of_both_distributions_and_each_is_locked(root: Path) -> None:
    found = dependencies(root)
    names = {re.split(r"[=<>\[]", requirement)[0] for requirement in found}
    assert {"torch", "ray", "httpx", "typer"} < names
    assert not {"unroll", "unroll-server", "pytest"} & names
    locked = {line.partition("==")[0].lower().replace("_", "-") for line in _lines(root / "requirements.lock")}
    assert names - locked == set()


def test_dependencies_are_printed_one_a_line(root: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "deploy/dependencies.py"], cwd=root, check=True, capture_output=True, text=True
    )
    assert printed.stdout.splitlines() == dependencies(root)


def _is_sent(root: Path, path: str) -> bool:
    """Whether .dockerignore lets `path` through: the last line that matches it or a folder above it decides."""
    places = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    is_sent = True
    for line in _lines(root / ".dockerignore"):
        pattern = line.removeprefix("!")
        if any(fnmatch.fnmatchcase(place, pattern) for place in places):
            is_sent = line.startswith("!")
    return is_sent


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
