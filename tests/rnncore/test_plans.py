"""What a job is refused for before it is queued, and that what was planned is what is loaded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnncore.batches import SequenceExamples
from rnncore.datasets.scan import make_scan
from rnncore.datasets.split import split_order
from rnncore.datasets.summaries import DatasetKind, Summary
from rnncore.errors import InvalidInput, UnknownSymbol
from rnncore.load import load
from rnncore.plans import RowPlan, SeriesPlan, make_plan
from rnncore.spec import JobSpec
from rnncore.tasks.examples import ExampleData


def scan(kind: DatasetKind, content: bytes) -> Summary:
    reading = make_scan(kind)
    reading.feed(content)
    return reading.summary()


def lines(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def spec(task: str, **sections: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": "ds-" + "0" * 32, "task": task} | sections)


def loaded(tmp_path: Path, task: str, kind: DatasetKind, content: bytes, **sections: Any) -> ExampleData:
    path = tmp_path / "file"
    path.write_bytes(content)
    job, summary = spec(task, **sections), scan(kind, content)
    data = load(job, make_plan(job, summary), summary, path)
    assert isinstance(data, ExampleData)
    return data


NAMES = lines(*({"text": "ab"[n % 2] * (n % 4 + 1), "label": n % 2} for n in range(20)))
SERIES = b"x,y\n" + b"".join(f"{n},{n * n}\n".encode() for n in range(50))


@pytest.mark.parametrize(
    ("task", "kind", "content"),
    [("classify", "text", b"abc" * 99), ("language_model", "labelled", NAMES), ("regress", "series", SERIES)],
)
def test_task_reads_the_kinds_that_are_for_it(task: str, kind: DatasetKind, content: bytes) -> None:
    with pytest.raises(InvalidInput, match=f"task {task} cannot read a data set of kind {kind}, which is") as caught:
        make_plan(spec(task), scan(kind, content))
    assert caught.value.param == "task"


def test_rows_are_split_by_the_fixed_shuffle_and_encoded(tmp_path: Path) -> None:
    data = loaded(tmp_path, "classify", "labelled", NAMES, train={"validation_fraction": 0.25})
    order = split_order(20)
    assert isinstance(data.training, SequenceExamples)
    assert isinstance(data.validation, SequenceExamples)
    assert [len(ids) for ids in data.training.inputs] == [n % 4 + 1 for n in order[:15]]
    assert np.array(data.validation.targets).tolist() == [n % 2 for n in order[15:]]
    assert data.encoding.tokens_read.tokens == ("a", "b")
    assert data.encoding.tokens_written.tokens == ("0", "1")


def test_scales_are_those_of_the_training_part_alone(tmp_path: Path) -> None:
    rows = lines(*({"inputs": [n, n + 1], "target": 10 * n} for n in range(20)))
    data = loaded(tmp_path, "regress", "sequences", rows, train={"validation_fraction": 0.5})
    training = split_order(20)[:10]
    assert data.encoding.numbers_written.mean == (10 * training.mean(),)
    assert data.encoding.numbers_read.mean == pytest.approx((training.mean() + 0.5,))
    assert isinstance(data.training, SequenceExamples)
    assert np.array(data.training.targets).mean() == pytest.approx(0, abs=1e-6)
    series = loaded(tmp_path, "forecast", "series", SERIES, train={"tbptt_steps": 4, "validation_fraction": 0.2})
    assert series.encoding.numbers_read.mean == pytest.approx((19.5, (np.arange(40) ** 2).mean()))
    assert series.encoding.target == "y"


def test_window_is_followed_by_the_value_it_forecasts(tmp_path: Path) -> None:
    data = loaded(tmp_path, "forecast", "series", SERIES, train={"tbptt_steps": 4, "validation_fraction": 0.2})
    assert (len(data.training), len(data.validation)) == (36, 10)
    for part, first in ((data.training, 4), (data.validation, 40)):
        batch = part.batch(np.array([0, 5]))
        x_BT = data.encoding.numbers_read.restore(batch.inputs.numpy().reshape(-1, 2)).reshape(2, 4, 2)[:, :, 0]
        y_B = data.encoding.numbers_written.restore(batch.targets.numpy())[:, 0]
        np.testing.assert_allclose(x_BT, [np.arange(first - 4, first), np.arange(first + 1, first + 5)], atol=1e-4)
        np.testing.assert_allclose(y_B, [first**2, (first + 5) ** 2], rtol=1e-4)


def test_generated_sequence_begins_with_its_label_and_ends(tmp_path: Path) -> None:
    rows = [("ba", "x") if n % 2 else ("b", "y") for n in range(20)]
    content = lines(*({"text": text, "label": label} for text, label in rows))
    data = loaded(tmp_path, "generate", "labelled", content)
    assert data.encoding.tokens_written.tokens == ("a", "b")
    assert data.encoding.tokens_read.tokens == ("x", "y")
    for place, row in enumerate(split_order(20)[:4]):
        batch = data.training.batch(np.array([place]))
        assert batch.inputs[0].tolist() == ([2, 1, 0] if row % 2 else [3, 1])
        assert batch.targets[0].tolist() == ([1, 0, 2] if row % 2 else [1, 2])


def test_target_of_a_translation_ends(tmp_path: Path) -> None:
    content = lines(*({"source": "ab", "target": ["K", "AH0"]} for _ in range(4)))
    data = loaded(tmp_path, "translate", "pairs", content)
    assert data.encoding.tokens_written.tokens == ("AH0", "K")
    assert data.training.batch(np.array([0])).targets.tolist() == [[1, 0, 2]]


def test_symbol_of_the_validation_part_alone_is_refused_naming_its_row_or_mapped(tmp_path: Path) -> None:
    last = int(split_order(20)[-1])
    rows = [{"text": "z" if n == last else "ab", "label": n % 2} for n in range(20)]
    with pytest.raises(UnknownSymbol, match=f"'z' in row {last + 1} is in no row of the training part") as caught:
        make_plan(spec("classify"), scan("labelled", lines(*rows)))
    assert caught.value.param == "dataset"
    data = loaded(tmp_path, "classify", "labelled", lines(*rows), model={"unknown": True})
    assert data.validation.batch(np.array([1])).inputs.tolist() == [[2]]


def test_label_of_the_validation_part_alone_is_refused(tmp_path: Path) -> None:
    last = int(split_order(20)[-1])
    rows = lines(*({"text": "ab", "label": "rare" if n == last else n % 2} for n in range(20)))
    with pytest.raises(UnknownSymbol, match=f"'rare' in row {last + 1}"):
        make_plan(spec("classify", model={"unknown": True}), scan("labelled", rows))


def test_series_too_short_for_its_windows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="training part of 45 rows is too short for windows of tbptt_steps=45") as e:
        make_plan(spec("forecast", train={"tbptt_steps": 45}), scan("series", SERIES))
    assert e.value.param == "train.tbptt_steps"
    assert make_plan(spec("forecast", train={"tbptt_steps": 44}), scan("series", SERIES)) == SeriesPlan(45, 5)


def test_other_data_set_may_validate_if_its_rows_are_alike(tmp_path: Path) -> None:
    plan = make_plan(
        spec("classify"), scan("labelled", NAMES), scan("labelled", b"".join(NAMES.splitlines(keepends=True)[:10]))
    )
    assert isinstance(plan, RowPlan)
    assert (plan.num_training, plan.num_validation) == (20, 10)
    numbers = lines(*({"series": [1, 2], "label": n} for n in range(3)))
    with pytest.raises(InvalidInput, match="validation_dataset has rows of 1 numbers a step") as caught:
        make_plan(spec("classify"), scan("labelled", NAMES), scan("labelled", numbers))
    assert caught.value.param == "validation_dataset"
    with pytest.raises(InvalidInput, match="validation_dataset is of kind series, dataset of kind labelled"):
        make_plan(spec("classify"), scan("labelled", NAMES), scan("series", SERIES))
