"""`compare`: jobs side by side, how well they do and in what they differ. Knows no statistics: those are a sweep's."""

import importlib
from typing import TYPE_CHECKING, Any

import typer

import unroll
from unroll.commands.arguments import AsJson, JobIds
from unroll.curves import Points, spark, thinned
from unroll.help_text import MODELS, add_command
from unroll.terminal import dump, duration, number, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import JobRecord

SPARK_WIDTH = 24
# What names a job, or differs in every two of them without a meaning.
_NOT_COMPARED = ("name", "metadata", "retry_of", "verify_of")


def register(app: typer.Typer) -> None:
    add_command(app, "compare", compare, panel=MODELS, examples=("unroll compare job-7c1e... job-90ab...",))


def compare(jobs: JobIds, as_json: AsJson = False) -> None:
    """Compare jobs side by side.

    Shows scores, curves of the validation loss on one scale, and the fields in which they differ.
    """
    if len(jobs) < 2:
        raise typer.BadParameter("name at least two jobs", param_hint="JOB...")
    with unroll.Client() as client:
        records = [client.jobs.get(job) for job in jobs]
        curves = [_curve(client, job) for job in jobs]
    differing = _differing(records)
    if as_json:
        found = [
            {**dump(record), "curve": [{"step": x, "validation_loss": y} for x, y in curve]}
            for record, curve in zip(records, curves, strict=True)
        ]
        print_json({"jobs": found, "differing": differing})
        return
    losses = [y for curve in curves for _, y in curve]
    header = ("JOB", "NAME", "STATE", "STEP", "BEST LOSS", "BITS/CHAR", "TRAINED", "VALIDATION LOSS")
    print_table(header, (_row(record, curve, losses) for record, curve in zip(records, curves, strict=True)))
    if differing:
        typer.echo()
        print_table(("FIELD", *(record.id for record in records)), ((name, *differing[name]) for name in differing))
    importlib.import_module("unroll.plot_view").show(  # here, because it loads Rich
        [record.spec.name or record.id for record in records], curves
    )


def _curve(client: "unroll.Client", job: str) -> Points:
    rows = client.jobs.metrics(job)
    return [(row.step, row.validation_loss) for row in rows if row.validation_loss is not None]


def _row(record: "JobRecord", curve: Points, losses: list[float]) -> tuple[object, ...]:
    best, values = record.best or record.last, thinned([y for _, y in curve], SPARK_WIDTH)
    trained = None if not record.started_at else (record.finished_at or record.created_at) - record.started_at
    return (
        record.id,
        record.spec.name,
        record.state,
        record.progress.step,
        number(best.validation_loss, 4) if best else None,
        number(best.bits_per_character) if best else None,
        duration(trained) if record.finished_at else None,
        spark(values, min(losses), max(losses)) if losses else None,
    )


def _differing(records: "list[JobRecord]") -> dict[str, list[Any]]:
    """Field -> its value in each job, of the fields in which they are not all alike."""
    specs = [_flat(dump(record.spec)) for record in records]
    names = dict.fromkeys(name for spec in specs for name in spec)
    found = {name: [spec.get(name) for spec in specs] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def _flat(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in spec.items():
        if isinstance(value, dict) and name not in _NOT_COMPARED:
            found |= {f"{name}.{field}": inner for field, inner in value.items()}
        elif name not in _NOT_COMPARED:
            found[name] = value
    return found
