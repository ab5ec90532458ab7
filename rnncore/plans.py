"""Whether a job fits its data, and how it will read them: all that can be known before training. Torch-free.

A plan is made twice from the same summaries: when a job is submitted, to refuse it there, and when it is trained.
"""

from typing import NamedTuple

from rnncore.corpus import TextPlan, TextSummary
from rnncore.datasets.split import split_order
from rnncore.datasets.summaries import TASKS_OF_KIND, RowSummary, SeriesSummary, Summary, SymbolTable
from rnncore.encoding import Encoding
from rnncore.errors import InvalidInput, UnknownSymbol
from rnncore.spec import JobSpec
from rnncore.tokens import Tokens


class RowPlan(NamedTuple):
    """Rows [0, num_training) of the split order train, the rest of them or another data set validates.

    `encoding` knows the symbols; the scales of numbers are found in the training rows.
    """

    encoding: Encoding
    num_training: int
    num_validation: int


class SeriesPlan(NamedTuple):
    """Rows [0, num_training) of the series train; what follows validates."""

    num_training: int
    num_validation: int


Plan = TextPlan | RowPlan | SeriesPlan


def make_plan(
    spec: JobSpec, summary: Summary, validation: Summary | None = None, known: Encoding | None = None
) -> Plan:
    """The plan of `spec`. `known` is the encoding of the model it starts from.

    Raises InvalidInput naming the field, or UnknownSymbol naming the symbol, if the job cannot run on these data.
    """
    if spec.task not in TASKS_OF_KIND[summary.kind]:
        fitting = [kind for kind, tasks in TASKS_OF_KIND.items() if spec.task in tasks]
        raise InvalidInput(
            f"task {spec.task} cannot read a data set of kind {summary.kind}, which is for "
            f"{' and '.join(TASKS_OF_KIND[summary.kind])}; it reads kind {' or '.join(fitting)}",
            param="task",
        )
    if validation is not None and validation.kind != summary.kind:
        raise InvalidInput(
            f"validation_dataset is of kind {validation.kind}, dataset of kind {summary.kind}; they must agree",
            param="validation_dataset",
        )
    if isinstance(summary, TextSummary):
        assert validation is None or isinstance(validation, TextSummary)
        return TextPlan.of(spec, summary, validation, known.symbols if known else None)
    if isinstance(summary, SeriesSummary):
        return _series(spec, summary, validation, known)
    assert validation is None or isinstance(validation, RowSummary)
    return _rows(spec, summary, validation, known)


def _series(spec: JobSpec, summary: SeriesSummary, validation: Summary | None, known: Encoding | None) -> SeriesPlan:
    if validation is not None:
        raise InvalidInput(
            "a forecast is validated on the tail of its own series; leave out validation_dataset",
            param="validation_dataset",
        )
    if known and (known.columns, known.target) != (summary.columns, summary.target):
        raise InvalidInput(
            f"init_from forecasts {known.target} from {', '.join(known.columns)}; the data set has "
            f"{summary.target} and {', '.join(summary.columns)}",
            param="init_from",
        )
    num_training = int(summary.num_rows * (1 - spec.train.validation_fraction))
    steps = spec.train.tbptt_steps or 1
    if num_training <= steps:
        raise InvalidInput(
            f"training part of {num_training} rows is too short for windows of tbptt_steps={steps}; "
            f"need at least {steps + 1}, or lower train.tbptt_steps",
            param="train.tbptt_steps",
        )
    return SeriesPlan(num_training, summary.num_rows - num_training)


def _rows(spec: JobSpec, summary: RowSummary, validation: RowSummary | None, known: Encoding | None) -> RowPlan:
    num_training = summary.num_rows if validation else int(summary.num_rows * (1 - spec.train.validation_fraction))
    num_validation = validation.num_rows if validation else summary.num_rows - num_training
    if num_training < 1 or num_validation < 1:
        raise InvalidInput(
            f"{summary.num_rows} rows are too few to train on some and validate on others; upload more",
            param="dataset",
        )
    if validation and _shape(validation) != _shape(summary):
        raise InvalidInput(
            f"validation_dataset has rows of {_shape(validation)}, dataset of {_shape(summary)}; they must agree",
            param="validation_dataset",
        )
    if spec.task == "generate" and summary.inputs is None:
        raise InvalidInput("task generate writes symbols; this data set has series of numbers", param="dataset")
    encoding = known or Encoding(
        inputs=_tokens(summary.inputs, num_training, unknown=spec.model.unknown),
        # What is only written need not stand for anything unknown.
        outputs=_tokens(summary.targets, num_training, unknown=False),
    )
    if spec.task == "generate" and known is None:  # reads labels, writes symbols
        encoding = Encoding(inputs=encoding.outputs, outputs=encoding.inputs)
    pairs = [(summary, "dataset")] + ([(validation, "validation_dataset")] if validation else [])
    for part, param in pairs:
        reads, writes = (part.targets, part.inputs) if spec.task == "generate" else (part.inputs, part.targets)
        _check(encoding.inputs, reads, part, param)
        _check(encoding.outputs, writes, part, param)
    return RowPlan(encoding, num_training, num_validation)


def _shape(summary: RowSummary) -> str:
    symbols = "symbols" if summary.inputs else f"{summary.num_channels} numbers a step"
    return f"{symbols} with {summary.num_targets or 'symbolic'} targets"


def _tokens(table: SymbolTable | None, num_training: int, *, unknown: bool) -> Tokens | None:
    if table is None:
        return None
    found = [symbol for symbol, rank in zip(table.symbols, table.ranks, strict=True) if rank < num_training]
    return Tokens(tokens=tuple(sorted(found)), unknown=unknown)


def _check(tokens: Tokens | None, table: SymbolTable | None, part: RowSummary, param: str) -> None:
    """Every symbol of `part` must be known, or one stand for all that are not."""
    if tokens is None or table is None or tokens.unknown:
        return
    known = set(tokens.tokens)
    for symbol, rank in zip(table.symbols, table.ranks, strict=True):
        if symbol not in known:
            row = int(split_order(part.num_rows)[rank]) + 1
            raise UnknownSymbol(
                f"{symbol!r} in row {row} is in no row of the training part, whose rows are drawn by a fixed shuffle; "
                "drop such rows, or train with model.unknown=true if it is an input",
                param=param,
            )
