"""`models [list|show|alias|delete]`, `checkpoints`, `export`: what can answer, by which names. Knows no weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import unroll
from unroll.commands.arguments import AsJson, JobId, ModelName
from unroll.help_text import MODELS, add_command, add_family
from unroll.terminal import dump, moment, note, number, one_line, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import Checkpoint, Model

AllCheckpoints = Annotated[bool, typer.Option("--checkpoints", help="Every checkpoint, not the best alone.")]


def register(app: typer.Typer) -> None:
    family = add_family(
        app, "models", models, panel=MODELS, examples=("unroll models", "unroll models alias favourite job-7c1e...")
    )
    add_command(family, "list", list_models, examples=("unroll models list --checkpoints --json",))
    add_command(family, "show", show, examples=("unroll models show favourite",))
    add_command(family, "alias", alias, examples=("unroll models alias favourite job-7c1e...:step-800",))
    add_command(
        family,
        "delete",
        delete,
        examples=("unroll models delete favourite", "unroll models delete job-7c1e...:step-800"),
    )
    add_command(app, "checkpoints", checkpoints, panel=MODELS, examples=("unroll checkpoints job-7c1e...",))
    examples = ("unroll export job-7c1e... model.onnx", "unroll export favourite favourite.safetensors")
    add_command(app, "export", export, panel=MODELS, examples=examples)


def models(context: typer.Context, checkpoints: AllCheckpoints = False, as_json: AsJson = False) -> None:
    """List what can be sampled; name a model, delete one."""
    if context.invoked_subcommand is None:
        list_models(checkpoints=checkpoints, as_json=as_json)


def list_models(checkpoints: AllCheckpoints = False, as_json: AsJson = False) -> None:
    """List what can be sampled: aliases, then the best of each finished job, newest first."""
    with unroll.Client() as client:
        found = list(client.models.list(checkpoints=checkpoints))
    if as_json:
        print_json([dump(model) for model in found])
    else:
        print_table(("ID", "STANDS FOR", "STEP", "BITS/CHAR", "CREATED"), map(_row, found))


def show(model: ModelName, as_json: AsJson = False) -> None:
    """Show one model: which checkpoint answers under this name now."""
    with unroll.Client() as client:
        found = client.models.get(model)
    if as_json:
        print_json(dump(found))
        return
    for name, value in (
        ("id", found.id),
        ("stands for", found.alias_of),
        ("job", found.job),
        ("step", found.step),
        ("validation loss", number(found.validation_loss, 4)),
        ("bits per char", number(found.bits_per_character, 4)),
        ("created", moment(found.created)),
        ("parameters", found.parameters_sha256),
    ):
        if value is not None:
            typer.echo(f"{name:<15} {one_line(value)}")


def alias(
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="A name of your own.", show_default=False)],
    model: ModelName,
    as_json: AsJson = False,
) -> None:
    """Let a name of your own stand for a model, from now on. What an alias stands for is not deleted."""
    with unroll.Client() as client:
        made = client.models.alias(name, model)
    if as_json:
        print_json(dump(made))
    else:
        note(f"{made.id} stands for {made.alias_of}")


def delete(model: ModelName, as_json: AsJson = False) -> None:
    """Delete an alias, one checkpoint (JOB:step-800), or JOB: all checkpoints of a job that has ended."""
    with unroll.Client() as client:
        answer = client.models.delete(model)
    if as_json:
        print_json(answer)
    else:
        note(f"{model} is deleted")


def checkpoints(job: JobId, as_json: AsJson = False) -> None:
    """List the checkpoints of a job; each is a model."""
    with unroll.Client() as client:
        found = list(client.jobs.checkpoints(job))
    if as_json:
        print_json([dump(one) for one in found])
        return
    header = ("MODEL", "STEP", "TRAIN LOSS", "VALIDATION LOSS", "BITS/CHAR", "BYTES", "CREATED", "")
    print_table(header, map(_checkpoint_row, found))


def export(
    model: ModelName,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.safetensors or FILE.onnx.", show_default=False)],
) -> None:
    """Write a model to a .safetensors or .onnx file."""
    written = path.suffix.removeprefix(".")
    if written not in ("safetensors", "onnx"):
        raise typer.BadParameter(f"ends in {path.suffix or 'nothing'}; name it .safetensors or .onnx")
    with unroll.Client() as client:
        path.write_bytes(client.models.export(model, format=written))
    note(f"wrote {path}")


def _row(model: "Model") -> tuple[object, ...]:
    return model.id, model.alias_of, model.step, number(model.bits_per_character), moment(model.created)


def _checkpoint_row(one: "Checkpoint") -> tuple[object, ...]:
    losses = (number(one.train_loss, 4), number(one.validation_loss, 4), number(one.bits_per_character))
    marks = " ".join(word for word, holds in (("best", one.is_best), ("latest", one.is_latest)) if holds)
    return one.model, one.step, *losses, f"{one.num_bytes:,}", moment(one.created_at), marks or " "
