"""Files that were scanned before -> data ready to train on, as the plan of the job says."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore.batches import SequenceExamples, WindowExamples
from rnncore.corpus import TextPlan
from rnncore.datasets.rows import Row
from rnncore.datasets.scan import read_rows
from rnncore.datasets.series import read_series
from rnncore.datasets.split import split_order
from rnncore.datasets.summaries import RowSummary, SeriesSummary, Summary
from rnncore.encoding import Encoding, Scale
from rnncore.plans import Plan, RowPlan, SeriesPlan
from rnncore.spec import JobSpec
from rnncore.tasks.examples import ExampleData
from rnncore.text import TextData, load_text


def load(
    spec: JobSpec,
    plan: Plan,
    summary: Summary,
    path: Path,
    *,
    validation_path: Path | None = None,
    known: Encoding | None = None,
) -> TextData | ExampleData:
    """Reads what `plan` was made of. `known` is the encoding of the model that the job goes on from or starts from."""
    if isinstance(plan, TextPlan):
        return load_text(path, plan, validation_path)
    if isinstance(plan, SeriesPlan):
        assert isinstance(summary, SeriesSummary)
        return _series(spec, plan, summary, path, known)
    assert isinstance(summary, RowSummary)
    return _rows(spec, plan, summary, path, validation_path, known)


def _series(spec: JobSpec, plan: SeriesPlan, summary: SeriesSummary, path: Path, known: Encoding | None) -> ExampleData:
    series_NC = read_series(path)
    column = summary.columns.index(summary.target)
    encoding = known
    if encoding is None:
        scale = Scale.of(series_NC[: plan.num_training])
        target_scale = Scale(mean=(scale.mean[column],), deviation=(scale.deviation[column],))
        encoding = Encoding(
            input_scale=scale, target_scale=target_scale, columns=summary.columns, target=summary.target
        )
    normal_NC, steps = encoding.numbers_read.normalise(series_NC), spec.train.tbptt_steps or 1
    training = WindowExamples(normal_NC, steps=steps, column=column, first=0, end=plan.num_training)
    validation = WindowExamples(normal_NC, steps=steps, column=column, first=plan.num_training, end=len(normal_NC))
    return ExampleData(encoding, training, validation)


def _rows(
    spec: JobSpec,
    plan: RowPlan,
    summary: RowSummary,
    path: Path,
    validation_path: Path | None,
    known: Encoding | None,
) -> ExampleData:
    rows = list(read_rows(summary.kind, path))
    if validation_path is None:
        order = split_order(len(rows))
        training = [rows[i] for i in order[: plan.num_training]]
        validation = [rows[i] for i in order[plan.num_training :]]
    else:
        training, validation = rows, list(read_rows(summary.kind, validation_path))
    encoding = known or _with_scales(plan.encoding, training)
    return ExampleData(encoding, _encoded(spec, encoding, training), _encoded(spec, encoding, validation))


def _with_scales(encoding: Encoding, training: list[Row]) -> Encoding:
    """Finds mean and deviation of what is not symbols, in the training rows alone."""
    scales: dict[str, Scale] = {}
    if isinstance(training[0].inputs, np.ndarray):
        scales["input_scale"] = Scale.of(np.concatenate([row.inputs for row in training]).astype(np.float64))
    if isinstance(training[0].target, np.ndarray):
        scales["target_scale"] = Scale.of(np.stack([row.target for row in training]).astype(np.float64))
    return encoding.model_copy(update=scales)


def _encoded(spec: JobSpec, encoding: Encoding, rows: list[Row]) -> SequenceExamples:
    """Inputs and targets as the task has them; see `rnncore.tasks`."""
    if spec.task == "generate":
        return _generate(encoding, rows)
    inputs: list[Any] = [_input(encoding, row) for row in rows]
    if spec.task == "classify":
        labels = [str(row.target) for row in rows]
        return SequenceExamples(inputs, encoding.tokens_written.encode(labels, param="label"))
    if spec.task == "regress":
        numbers_NK = np.stack([row.target for row in rows])
        return SequenceExamples(inputs, encoding.numbers_written.normalise(numbers_NK))
    targets = [encoding.tokens_written.encode(_symbols(row.target), param="target") for row in rows]
    if spec.task == "translate":  # ends with one id more than there are symbols
        targets = [np.append(target, encoding.tokens_written.size) for target in targets]
    return SequenceExamples(inputs, targets)


def _generate(encoding: Encoding, rows: list[Row]) -> SequenceExamples:
    """Reads label, symbols; writes symbols, end. Ids of labels follow those of the symbols."""
    symbols, labels = encoding.tokens_written, encoding.tokens_read
    inputs, targets = [], []
    for row in rows:
        label = symbols.size + labels.encode([str(row.target)], param="label")
        written = symbols.encode(_symbols(row.inputs), param="text")
        inputs.append(np.concatenate([label, written]))
        targets.append(np.append(written, symbols.size))
    return SequenceExamples(inputs, targets)


def _input(encoding: Encoding, row: Row) -> NDArray[Any]:
    if isinstance(row.inputs, np.ndarray):
        return encoding.numbers_read.normalise(row.inputs)
    return encoding.tokens_read.encode(row.inputs, param="inputs")


def _symbols(value: object) -> list[str]:
    assert isinstance(value, list)
    return value
