"""The examples of README.md run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_service import Service

README = (Path(__file__).parent.parent / "README.md").read_text()


def _block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(block for block in blocks if containing in block)


@pytest.fixture
def environment(service: Service, text: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "book.txt").write_text("the beginning of the book\n" + text)
    url = (service.home / "run" / "url").read_text().strip()
    return {**os.environ, "UNROLL_HOME": str(service.home), "UNROLL_URL": url}


def test_the_readme_opens_with_the_two_commands() -> None:
    first = README.split("```sh\n")[1].split("```")[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]


def test_the_curl_example_trains_follows_and_samples(environment: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.fail("curl is missing; `make setup-system` brings it")
    script = "set -eu\n" + _block("sh", "curl")
    done = subprocess.run(
        ["sh", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "data: [DONE]" in done.stdout
    assert '"object":"text_completion"' in done.stdout


def test_the_python_example_trains_follows_and_samples(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _block("python", "Client()")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [line.split()[0] for line in done.stdout.splitlines() if re.match(r"^\d+ \d+\.\d+$", line)]
    assert steps[0] == "1"
    assert steps[-1] == "100"
