"""`pull`: a data set, or all that a job made, into files of this machine. Knows no format but JSON."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.asked import is_dataset_id
from unroll.completion import job_ids
from unroll.errors import ConfigurationError
from unroll.help_text import MODELS, add_command
from unroll.terminal import dump, note

if TYPE_CHECKING:
    from pydantic import BaseModel


def register(app: typer.Typer) -> None:
    examples = (
        "unroll pull job-7c1e...",
        "unroll pull favourite --out models/favourite",
        "unroll pull ds-5f0c... --out book.txt",
    )
    add_command(app, "pull", pull, panel=MODELS, examples=examples)


def pull(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|DATASET",
            help="A job, one of its checkpoints, an alias, or a data set.",
            show_default=False,
            autocompletion=job_ids,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to.", show_default="a folder or file of its name, here")
    ] = None,
) -> None:
    """Download a model with its record, or a data set.

    Prints where it lies. Of a model: weights and vocabulary (model.safetensors), the job's record, its history,
    events, checkpoints and log. What lies there already is not overwritten.
    """
    with unroll.Client() as client:
        if is_dataset_id(what):
            dataset = client.datasets.get(what)
            target = out or Path(Path(dataset.name or what).name)
            _write(target, lambda: client.datasets.content(what))
        else:
            target = out or Path(what.replace(":", "-"))
            _pull_model(client, what, target)
    typer.echo(target)


def _pull_model(client: "unroll.Client", name: str, folder: Path) -> None:
    model = client.models.get(name)
    job = str(model.job)
    parts: dict[str, Callable[[], bytes]] = {
        "model.json": lambda: _object(model),
        "job.json": lambda: _object(client.jobs.get(job)),
        "history.jsonl": lambda: _lines(client.jobs.metrics(job)),
        "events.jsonl": lambda: _lines(client.jobs.events(job)),
        "checkpoints.jsonl": lambda: _lines(client.jobs.checkpoints(job)),
        "log.txt": lambda: client.jobs.logs(job).encode(),
        "model.safetensors": lambda: client.models.export(name),
    }
    for file, read in parts.items():
        _write(folder / file, read)


def _object(answer: "BaseModel") -> bytes:
    return _text(dump(answer), indent=2)


def _lines(answers: "Iterable[BaseModel]") -> bytes:
    return b"".join(_text(dump(one), indent=None) for one in answers)


def _text(value: Any, *, indent: int | None) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode()


def _write(path: Path, read: Callable[[], bytes]) -> None:
    """Whole or not at all; a file that is there stays as it is."""
    if path.exists():
        note(f"{path} is there already")
        return
    content = read()
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error
