"""`submit` and `retry`: a file, or a job that ended, and a few wishes become a job. Knows not one default."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.arguments import AsJson, JobId, Watched
from unroll.commands.asked import dataset_of, pair, put, read_spec, setting
from unroll.commands.watch import watch_job
from unroll.completion import CELLS, TASKS, among
from unroll.help_text import JOBS, add_command
from unroll.terminal import dump, note, print_json

if TYPE_CHECKING:
    from unroll.types import JobRecord

FILE, MODEL, TRAIN = "The file", "The network", "Training"


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "submit",
        submit,
        panel=JOBS,
        examples=(
            "unroll submit book.txt --cell gru --hidden-size 128 --max-steps 2000 --watch",
            "unroll submit names.csv --task classify --kind labelled --set model.bidirectional=true",
            "unroll submit --spec job.json --set train.seed=3",
        ),
    )
    examples = ("unroll retry job-7c1e... --set train.max_steps=9000",)
    add_command(app, "retry", retry, panel=JOBS, examples=examples)


def submit(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE|DATASET]", help="A file, `-` for stdin, or a data set's id.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="language_model, tag, classify, forecast, regress, generate or translate.",
            autocompletion=among(*TASKS),
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Of the file: text, labelled, tagged, pairs, series or sequences.",
            show_default="text",
            rich_help_panel=FILE,
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of a series: what is forecast.", rich_help_panel=FILE)
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    cell: Annotated[
        str | None, typer.Option(help="rnn, lstm or gru.", rich_help_panel=MODEL, autocompletion=among(*CELLS))
    ] = None,
    hidden_size: Annotated[
        int | None, typer.Option(help="Units of each recurrent layer.", rich_help_panel=MODEL)
    ] = None,
    num_layers: Annotated[int | None, typer.Option(help="Stacked recurrent layers.", rich_help_panel=MODEL)] = None,
    embedding_size: Annotated[
        int | None, typer.Option(help="Length of a symbol's vector.", rich_help_panel=MODEL)
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Dropout between layers and before the output.", rich_help_panel=MODEL)
    ] = None,
    unknown: Annotated[
        bool | None, typer.Option("--unknown/--no-unknown", help="Map unseen symbols to one instead of refusing them.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Parallel streams of the whole job.", rich_help_panel=TRAIN)
    ] = None,
    tbptt_steps: Annotated[
        int | None, typer.Option(help="Symbols that gradients flow back through.", rich_help_panel=TRAIN)
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="End after so many optimizer steps.", rich_help_panel=TRAIN)
    ] = None,
    max_epochs: Annotated[
        int | None, typer.Option(help="End after so many passes over the text.", rich_help_panel=TRAIN)
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="End after so many seconds of training.", rich_help_panel=TRAIN)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=TRAIN)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and dropout.", rich_help_panel=TRAIN)] = None,
    validate_every_steps: Annotated[
        int | None, typer.Option(help="Steps between validations.", rich_help_panel=TRAIN)
    ] = None,
    checkpoint_every_steps: Annotated[
        int | None, typer.Option(help="Steps between checkpoints.", rich_help_panel=TRAIN)
    ] = None,
    init_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to start from.", rich_help_panel=MODEL)
    ] = None,
    priority: Annotated[int | None, typer.Option(help="0-9; 9 runs first.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="KEY=VALUE", help="A pair to find the job by; repeatable."),
    ] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="characters or bytes, of the file that is uploaded.", rich_help_panel=FILE)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=JSON", help="Any field: train.warmup_steps=50; repeatable."),
    ] = None,
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="A JobSpec in JSON; flags go before it.")] = None,
    watch: Watched = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key answers the same job again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Queue a training job on a file and print its id.

    The file is uploaded first. Fields that are not named get the server's defaults.
    """
    asked: dict[str, Any] = {
        "task": task,
        "name": name,
        "init_from": init_from,
        "priority": priority,
        "model.cell": cell,
        "model.hidden_size": hidden_size,
        "model.num_layers": num_layers,
        "model.embedding_size": embedding_size,
        "model.dropout": dropout,
        "model.unknown": unknown,
        "train.batch_size": batch_size,
        "train.tbptt_steps": tbptt_steps,
        "train.max_steps": max_steps,
        "train.max_epochs": max_epochs,
        "train.max_seconds": max_seconds,
        "train.learning_rate": learning_rate,
        "train.seed": seed,
        "train.validate_every_steps": validate_every_steps,
        "train.checkpoint_every_steps": checkpoint_every_steps,
    }
    named = {field: value for field, value in asked.items() if value is not None}
    body = read_spec(spec)
    for field, value in (*named.items(), *map(setting, settings or [])):
        put(body, field, value)
    if metadata:
        body["metadata"] = {**body.get("metadata", {}), **dict(map(pair, metadata))}
    if source is None and "dataset" not in body:
        raise typer.BadParameter("name a file, a data set, or a --spec with a dataset", param_hint="FILE|DATASET")
    upload = {"kind": kind, "vocabulary": vocabulary, "target": target}
    of_file = {name: value for name, value in upload.items() if value is not None}
    with unroll.Client() as client:
        if source is not None:
            body["dataset"] = dataset_of(client, source, of_file)
        elif of_file:
            raise typer.BadParameter("it belongs to a file that is uploaded", param_hint=f"--{next(iter(of_file))}")
        record = client.jobs.submit(idempotency_key=idempotency_key, **body)
        _report(record, as_json=as_json, is_line=watch, is_last=not watch)
        if watch:
            watch_job(client, record.id, as_json=as_json)


def retry(
    job: JobId,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=JSON", help="What to change: train.max_steps=9000; repeatable."),
    ] = None,
    watch: Watched = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key answers the same job again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Queue a new job that goes on where an ended one stopped.

    It starts from the last checkpoint; limits and learning rates may be changed. Prints its id.
    """
    changes: dict[str, Any] = {}
    for field, value in map(setting, settings or []):
        put(changes, field, value)
    with unroll.Client() as client:
        record = client.jobs.retry(job, idempotency_key=idempotency_key, **changes)
        _report(record, as_json=as_json, is_line=watch, is_last=not watch)
        if watch:
            watch_job(client, record.id, as_json=as_json)


def _report(record: "JobRecord", *, as_json: bool, is_line: bool, is_last: bool) -> None:
    if as_json:
        print_json(dump(record), is_line=is_line)
    else:
        typer.echo(record.id)
    for warning in record.warnings:
        note(f"warning: {warning}")
    if is_last:
        note(f"{record.state}; watch it with: unroll watch {record.id}")
