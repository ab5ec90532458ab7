"""`submit` and `retry`: a file, or a job that ended, and a few wishes become a job. Knows not one default."""

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.jobs import JobId
from unroll.commands.service import AsJson
from unroll.commands.watch import watch_job
from unroll.errors import ConfigurationError
from unroll.terminal import dump, note, print_json

if TYPE_CHECKING:
    from unroll.types import JobRecord

_DATASET_ID = re.compile(r"ds-[0-9a-f]{32}")
MODEL, TRAIN = "Model", "Training"


def register(app: typer.Typer) -> None:
    app.command("submit")(submit)
    app.command("retry")(retry)


def submit(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE|DATASET]", help="A file, `-` for stdin, or a data set's id.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="language_model, tag, classify, forecast, regress, generate or translate."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Of the file: text, labelled, tagged, pairs, series or sequences.", show_default="text"),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="Of a series: what is forecast.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    cell: Annotated[str | None, typer.Option(help="rnn, lstm or gru.")] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Units of each recurrent layer.")] = None,
    num_layers: Annotated[int | None, typer.Option(help="Stacked recurrent layers.")] = None,
    embedding_size: Annotated[int | None, typer.Option(help="Length of a symbol's vector.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout between layers and before the output.")] = None,
    unknown: Annotated[
        bool | None, typer.Option("--unknown/--no-unknown", help="Map unseen symbols to one instead of refusing them.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Parallel streams of the whole job.")] = None,
    tbptt_steps: Annotated[int | None, typer.Option(help="Symbols that gradients flow back through.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="End after so many optimizer steps.")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="End after so many passes over the text.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="End after so many seconds of training.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and dropout.")] = None,
    validate_every_steps: Annotated[int | None, typer.Option(help="Steps between validations.")] = None,
    checkpoint_every_steps: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    init_from: Annotated[str | None, typer.Option(metavar="MODEL", help="Model to start from.")] = None,
    priority: Annotated[int | None, typer.Option(help="0-9; 9 runs first.")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="characters or bytes, of the file that is uploaded.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=JSON", help="Any field: train.warmup_steps=50; repeatable."),
    ] = None,
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="A JobSpec in JSON; flags go before it.")] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Watch the job until it ends.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key answers the same job again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file, queue a training job on it and print the job's id. Fields not named are the server's to choose."""
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
    body = _read_spec(spec)
    for field, value in (*named.items(), *map(_setting, settings or [])):
        _put(body, field, value)
    if source is None and "dataset" not in body:
        raise typer.BadParameter("name a file, a data set, or a --spec with a dataset", param_hint="FILE|DATASET")
    upload = {"kind": kind, "vocabulary": vocabulary, "target": target}
    of_file = {name: value for name, value in upload.items() if value is not None}
    with unroll.Client() as client:
        if source is not None:
            body["dataset"] = _dataset(client, source, of_file)
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
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Watch the job until it ends.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key answers the same job again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Queue a new job that goes on from the last checkpoint of one that has ended, and print its id."""
    changes: dict[str, Any] = {}
    for field, value in map(_setting, settings or []):
        _put(changes, field, value)
    with unroll.Client() as client:
        record = client.jobs.retry(job, idempotency_key=idempotency_key, **changes)
        _report(record, as_json=as_json, is_line=watch, is_last=not watch)
        if watch:
            watch_job(client, record.id, as_json=as_json)


def _dataset(client: "unroll.Client", source: str, of_file: dict[str, str]) -> str:
    if _DATASET_ID.fullmatch(source):
        for option in of_file:
            raise typer.BadParameter(f"{source} has its {option} already", param_hint=f"--{option}")
        return source
    if source == "-":
        return client.datasets.upload(sys.stdin.buffer, name="stdin", **of_file).id
    if not os.path.exists(source):
        raise typer.BadParameter(f"{source!r} is neither a file nor the id of a data set", param_hint="FILE|DATASET")
    return client.datasets.upload(source, **of_file).id


def _report(record: "JobRecord", *, as_json: bool, is_line: bool, is_last: bool) -> None:
    if as_json:
        print_json(dump(record), is_line=is_line)
    else:
        typer.echo(record.id)
    for warning in record.warnings:
        note(f"warning: {warning}")
    if is_last:
        note(f"{record.state}; watch it with: unroll watch {record.id}")


def _read_spec(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--spec {path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise ConfigurationError(f"--spec {path} holds no JSON object")
    return body


def _setting(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not field or not equals:
        raise typer.BadParameter(f"{text!r} is not FIELD=JSON", param_hint="--set")
    try:
        return field, json.loads(value)
    except ValueError as error:
        hint = f"{value!r} is no JSON; a string is written {field}='{json.dumps(value)}'"
        raise typer.BadParameter(hint, param_hint="--set") from error


def _put(body: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
        if not isinstance(body, dict):
            raise typer.BadParameter(f"{parent} of {field} is no section", param_hint="--set")
    body[last] = value
