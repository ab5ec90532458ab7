"""`datasets [list|upload|show|delete]`. Knows no format: the server validates."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

import unroll
from unroll.commands.arguments import AsJson, DatasetId
from unroll.help_text import DATA, add_command, add_family
from unroll.terminal import dump, moment, one_line, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import Dataset


def register(app: typer.Typer) -> None:
    family = add_family(
        app, "datasets", datasets, panel=DATA, examples=("unroll datasets", "unroll datasets upload book.txt")
    )
    add_command(family, "list", list_datasets, examples=("unroll datasets list --json",))
    add_command(
        family,
        "upload",
        upload,
        examples=(
            "unroll datasets upload book.txt",
            "unroll datasets upload weather.csv --kind series --target temp_max",
            "zcat book.txt.gz | unroll datasets upload - --name book",
        ),
    )
    add_command(family, "show", show, examples=("unroll datasets show ds-5f0c...",))
    add_command(family, "delete", delete, examples=("unroll datasets delete ds-5f0c...",))


def datasets(context: typer.Context, as_json: AsJson = False) -> None:
    """List, upload, show or delete data sets."""
    if context.invoked_subcommand is None:
        list_datasets(as_json=as_json)


def list_datasets(as_json: AsJson = False) -> None:
    """List data sets, newest first."""
    with unroll.Client() as client:
        found = list(client.datasets.list())
    if as_json:
        print_json([dump(dataset) for dataset in found])
        return
    header = ("ID", "NAME", "KIND", "BYTES", "LENGTH", "USES", "CREATED")
    print_table(header, map(_row, found))


def upload(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or `-` for stdin.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="A name for people; the file's by default.")] = None,
    kind: Annotated[str, typer.Option(help="text, labelled, tagged, pairs, series or sequences.")] = "text",
    vocabulary: Annotated[str | None, typer.Option(help="Of a text: characters or bytes.")] = None,
    target: Annotated[str | None, typer.Option(help="Of a series: the column to forecast.")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file and print the id of the data set."""
    source = sys.stdin.buffer if file == "-" else file
    with unroll.Client() as client:
        dataset = client.datasets.upload(source, kind=kind, vocabulary=vocabulary, target=target, name=name)
    if as_json:
        print_json(dump(dataset))
    else:
        typer.echo(dataset.id)


def show(dataset: DatasetId, as_json: AsJson = False) -> None:
    """Show one data set."""
    with unroll.Client() as client:
        found = client.datasets.get(dataset)
    if as_json:
        print_json(dump(found))
        return
    facts = {"id": found.id, "name": found.name, "bytes": found.num_bytes, "sha256": found.sha256, "uses": found.uses}
    for name, value in {**facts, "created": moment(found.created_at), **found.summary}.items():
        typer.echo(f"{name:<12} {one_line(value)}")


def delete(dataset: DatasetId, as_json: AsJson = False) -> None:
    """Delete a data set that no unfinished job uses."""
    with unroll.Client() as client:
        answer = client.datasets.delete(dataset)
    if as_json:
        print_json(answer)
    else:
        typer.echo(dataset)


def _row(dataset: "Dataset") -> tuple[object, ...]:
    length = dataset.summary.get("num_symbols") or dataset.summary.get("num_rows")
    created = moment(dataset.created_at)
    return dataset.id, dataset.name, dataset.kind, dataset.num_bytes, length, dataset.uses, created
