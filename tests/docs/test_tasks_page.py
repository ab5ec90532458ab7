"""Every section of the page of tasks on its real data: what its commands train beats the simplest answer."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
from unroll.lecture.adding import sequences

from rnncore.spec import Task
from tests.docs.conftest import Read, check_whole
from tests.docs.files import FILES, ROWS
from tests.docs.pages import page
from tests.running_service import Service

# A page is read whole by the first test that asks for it.
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

NAME = "docs/how-to/tasks.md"
PAGE = page(NAME)


class Outcome(NamedTuple):
    """What came of a section: the record of its job, and what its second block answered."""

    record: dict[str, Any]
    answered: str


@pytest.fixture
def of(read: Callable[[str], Read], service: Service) -> Callable[[str], Outcome]:
    def of(task: str) -> Outcome:
        reader, printed = read(NAME)
        trained, asked = PAGE.section(task)
        found = re.search(r"unroll sample (job-\w+)", reader.said(trained))
        assert found is not None
        return Outcome(service.job(found[1]), printed[PAGE.steps.index(asked)])

    return of


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILES[name]().decode().splitlines()]


def test_commands_of_the_page_run(read: Callable[[str], Read]) -> None:
    check_whole(read, NAME)


def test_page_has_a_section_for_every_task() -> None:
    assert {step.section for step in PAGE.steps} == set(get_args(Task))


@pytest.mark.parametrize(
    ("name", "task"), [("stress.jsonl", "tag"), ("names.jsonl", "classify"), ("spelling.jsonl", "translate")]
)
def test_lines_shown_have_the_form_of_the_file(name: str, task: str) -> None:
    (block,) = (block for block in PAGE.blocks if block.language == "json" and block.section == task)
    shown, found = json.loads(block.text), rows(name)[0]
    assert {key: type(value) for key, value in shown.items()} == {key: type(value) for key, value in found.items()}


def test_language_model_beats_single_letters_frequencies(of: Callable[[str], Outcome]) -> None:
    record, written = of("language_model")
    text = FILES["documentation.txt"]().decode()
    assert record["best"]["validation_loss"] < entropy(text) - 0.7
    assert len(written) == 80


def test_tagger_beats_the_commonest_tag_of_each_phoneme(of: Callable[[str], Outcome]) -> None:
    record, answered = of("tag")
    pairs = [pair for row in rows("stress.jsonl") for pair in zip(row["inputs"], row["tags"], strict=True)]
    by_phoneme: dict[str, Counter[str]] = {}
    for phoneme, tag in pairs:
        by_phoneme.setdefault(phoneme, Counter())[tag] += 1
    simplest = sum(tags.most_common(1)[0][1] for tags in by_phoneme.values()) / len(pairs)
    assert record["best"]["metrics"]["accuracy"] > simplest + 0.02
    assert len(answered.split()) == 7


def test_classifier_beats_the_largest_class(of: Callable[[str], Outcome]) -> None:
    record, answered = of("classify")
    labels = Counter(row["label"] for row in rows("names.jsonl"))
    assert record["best"]["metrics"]["accuracy"] > labels.most_common(1)[0][1] / labels.total() + 0.2
    assert {line.split()[0] for line in answered.splitlines()} <= set(labels)


def test_forecast_beats_persistence(of: Callable[[str], Outcome]) -> None:
    record, answered = of("forecast")
    metrics = record["best"]["metrics"]
    assert metrics["rmse"] < metrics["persistence_rmse"]
    assert -10 < float(answered) < 40


def test_sum_is_closer_than_the_mean(of: Callable[[str], Outcome]) -> None:
    record, answered = of("regress")
    _, target = sequences(ROWS, 12, seed=1)
    assert record["best"]["metrics"]["rmse"] < 0.3 * np.std(target)
    assert abs(float(answered) - 0.75) < 0.2


def test_names_are_written_in_letters_of_names(of: Callable[[str], Outcome]) -> None:
    record, written = of("generate")
    names = [row["text"] for row in rows("names.jsonl")]
    assert record["best"]["validation_loss"] < entropy("\n".join(names)) - 0.2
    assert len(written.split("\n")[:-1]) == 2
    assert set(written) - {"\n"} <= set("".join(names))


def test_translation_writes_phonemes(of: Callable[[str], Outcome]) -> None:
    record, written = of("translate")
    phonemes = Counter(phoneme for row in rows("spelling.jsonl") for phoneme in row["target"])
    assert record["best"]["validation_loss"] < of_counts(phonemes) - 0.8
    assert len(written.splitlines()) == 1


def entropy(text: str) -> float:
    """Nats a symbol of its own frequencies."""
    return of_counts(Counter(text))


def of_counts(counts: Counter[str]) -> float:
    shares = np.array(list(counts.values())) / counts.total()
    return float(-(shares * np.log(shares)).sum())
