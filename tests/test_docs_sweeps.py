"""The commands of docs/sweeps.md run as they stand there, on a small text."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_service import Service

PAGE = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "book.txt").write_text(text)
    return tmp_path


def run(service: Service, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    url = (service.home / "run" / "url").read_text().strip()
    environment = {**os.environ, "UNROLL_HOME": str(service.home), "UNROLL_URL": url}
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_search_of_the_page_finds_a_good_trial_and_stops_poor_ones(service: Service, folder: Path) -> None:
    (command,) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
    unroll = str(Path(sys.executable).with_name("unroll"))
    done = run(service, folder, unroll, *shlex.split(command.replace("\\\n", " "))[1:])
    sweep, *lines = done.stdout.splitlines()
    assert "go on with: unroll sample job-" in done.stderr
    assert {line.split()[1] for line in lines} == {str(number) for number in range(8)}
    shown = json.loads(run(service, folder, unroll, "sweeps", "show", sweep, "--json").stdout)
    assert shown["state"] == "succeeded"
    assert shown["num_trials"] == 8
    assert shown["num_stopped_early"] >= 1
    assert shown["best"]["value"] == min(trial["value"] for trial in shown["all_trials"])


def test_grid_of_the_page_tells_mean_and_spread_of_three_seeds(service: Service, folder: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (folder / "example.py").write_text(program)
    done = run(service, folder, sys.executable, "example.py")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert sorted(row[0] for row in rows) == ["0.001", "0.01"]
    assert [row[4] for row in rows] == ["3", "3"]
    means = [float(row[1]) for row in rows]
    assert means == sorted(means), "the best first"
    assert all(float(row[3]) > 0 for row in rows)
    assert len(done.stderr.rstrip("\n")) >= 1
