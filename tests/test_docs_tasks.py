"""Every section of docs/tasks.md on its real data: its commands run as they stand, and beat the simplest answer."""

import json
import os
import pydoc_data.topics
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from unroll.lecture.adding import adding_problem, sequences

from benchmarks import data
from rnncore.spec import Task
from tests.running_service import Service

pytestmark = pytest.mark.system

PAGE = (Path(__file__).parent.parent / "docs" / "tasks.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
# A job shows its worth within seconds on so many rows.
ROWS = 6_000

FILES: dict[str, Callable[[], bytes]] = {
    "documentation.txt": lambda: "".join(pydoc_data.topics.topics.values()).encode(),
    "stress.jsonl": lambda: some(data.stress()),
    "spelling.jsonl": lambda: some(data.spelling()),
    "names.jsonl": lambda: some(data.names()),
    "weather.csv": data.weather,
    "adding.npz": lambda: adding_problem(ROWS, 12, seed=1),
}


def some(content: bytes) -> bytes:
    """Rows from all over the file."""
    rows = content.splitlines(keepends=True)
    return b"".join(rows[:: max(1, len(rows) // ROWS)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    for name, content in FILES.items():
        (folder / name).write_bytes(content())
    return folder


@pytest.fixture
def run(service: Service, folder: Path) -> Callable[[str], tuple[dict[str, Any], str]]:
    """Runs the commands of a section; the record of its job and what the last command printed."""

    def run(task: str) -> tuple[dict[str, Any], str]:
        submit, ask = re.search(r"```sh\n(.*?)\n(.*?)\n```", SECTIONS[task], re.DOTALL).groups()  # type: ignore[union-attr]
        job = command(submit).strip()
        return service.ended(job, 200), command(ask.replace("JOB", job))

    def command(line: str) -> str:
        environment = {**os.environ, "UNROLL_HOME": str(service.home)}
        words = [str(Path(sys.executable).with_name("unroll")), *shlex.split(line)[1:]]
        done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILES[name]().decode().splitlines()]


def test_page_has_a_section_for_every_task() -> None:
    assert set(SECTIONS) == set(get_args(Task))


@pytest.mark.parametrize(
    ("name", "task"), [("stress.jsonl", "tag"), ("names.jsonl", "classify"), ("spelling.jsonl", "translate")]
)
def test_lines_shown_have_the_form_of_the_file(name: str, task: str) -> None:
    shown = json.loads(re.search(r"```json\n(.*?)\n```", SECTIONS[task], re.DOTALL).group(1))  # type: ignore[union-attr]
    found = rows(name)[0]
    assert {key: type(value) for key, value in shown.items()} == {key: type(value) for key, value in found.items()}


def test_language_model_beats_single_letters_frequencies(run: Any) -> None:
    record, written = run("language_model")
    text = FILES["documentation.txt"]().decode()
    assert record["best"]["validation_loss"] < entropy(text) - 1
    assert len(written) == 80


def test_tagger_beats_the_commonest_tag_of_each_phoneme(run: Any) -> None:
    record, answered = run("tag")
    pairs = [pair for row in rows("stress.jsonl") for pair in zip(row["inputs"], row["tags"], strict=True)]
    by_phoneme: dict[str, Counter[str]] = {}
    for phoneme, tag in pairs:
        by_phoneme.setdefault(phoneme, Counter())[tag] += 1
    simplest = sum(tags.most_common(1)[0][1] for tags in by_phoneme.values()) / len(pairs)
    assert record["best"]["metrics"]["accuracy"] > simplest + 0.02
    assert len(answered.split()) == 7


def test_classifier_beats_the_largest_class(run: Any) -> None:
    record, answered = run("classify")
    labels = Counter(row["label"] for row in rows("names.jsonl"))
    assert record["best"]["metrics"]["accuracy"] > labels.most_common(1)[0][1] / labels.total() + 0.2
    assert {line.split()[0] for line in answered.splitlines()} <= set(labels)


def test_forecast_beats_persistence(run: Any) -> None:
    record, answered = run("forecast")
    metrics = record["best"]["metrics"]
    assert metrics["rmse"] < metrics["persistence_rmse"]
    assert -10 < float(answered) < 40


def test_sum_is_closer_than_the_mean(run: Any) -> None:
    record, answered = run("regress")
    _, target = sequences(ROWS, 12, seed=1)
    assert record["best"]["metrics"]["rmse"] < 0.3 * np.std(target)
    assert abs(float(answered) - 0.75) < 0.2


def test_names_are_written_in_letters_of_names(run: Any) -> None:
    record, written = run("generate")
    names = [row["text"] for row in rows("names.jsonl")]
    assert record["best"]["validation_loss"] < entropy("\n".join(names)) - 0.3
    assert len(written.split("\n")[:-1]) == 2
    assert set(written) - {"\n"} <= set("".join(names))


def test_translation_writes_phonemes(run: Any) -> None:
    record, written = run("translate")
    pairs = rows("spelling.jsonl")
    phonemes = Counter(phoneme for row in pairs for phoneme in row["target"])
    assert record["best"]["validation_loss"] < of_counts(phonemes) - 1
    assert len(written.splitlines()) == 1


def entropy(text: str) -> float:
    """Nats a symbol of its own frequencies."""
    return of_counts(Counter(text))


def of_counts(counts: Counter[str]) -> float:
    shares = np.array(list(counts.values())) / counts.total()
    return float(-(shares * np.log(shares)).sum())
