"""A fake server, and a command line that speaks to it alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_unroll_server import KEY, FakeServer
from typer.testing import CliRunner
from unroll.cli import app


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeServer]:
    with FakeServer() as fake:
        monkeypatch.setenv("UNROLL_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("UNROLL_URL", fake.url)
        monkeypatch.setenv("UNROLL_API_KEY", KEY)
        monkeypatch.delenv("UNROLL_API_KEY_FILE", raising=False)
        yield fake


@pytest.fixture
def unroll_command():
    """Runs one command in this process, as a pipe would see it."""

    def run(*arguments: str):
        return CliRunner().invoke(app, arguments, prog_name="unroll")

    return run
