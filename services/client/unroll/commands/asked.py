"""From what a command line says to what is asked of the server: a data set, a spec, single fields."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import typer

import unroll
from unroll.errors import ConfigurationError

_DATASET_ID = re.compile(r"ds-[0-9a-f]{32}")


def dataset_of(client: "unroll.Client", source: str, of_file: dict[str, str]) -> str:
    """The id of a data set: `source`, or the file that it names, uploaded with the options `of_file`."""
    if is_dataset_id(source):
        for option in of_file:
            raise typer.BadParameter(f"{source} has its {option} already", param_hint=f"--{option}")
        return source
    if source == "-":
        return client.datasets.upload(sys.stdin.buffer, name="stdin", **of_file).id
    if not os.path.exists(source):
        raise typer.BadParameter(f"{source!r} is neither a file nor the id of a data set", param_hint="FILE|DATASET")
    return client.datasets.upload(source, **of_file).id


def is_dataset_id(text: str) -> bool:
    return _DATASET_ID.fullmatch(text) is not None


def read_spec(path: Path | None) -> dict[str, Any]:
    """The JSON object in a file; an empty one without a file. Raises ConfigurationError."""
    if path is None:
        return {}
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--spec {path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise ConfigurationError(f"--spec {path} holds no JSON object")
    return body


def setting(text: str) -> tuple[str, Any]:
    """`train.seed=3` -> ("train.seed", 3)."""
    field, equals, value = text.partition("=")
    if not field or not equals:
        raise typer.BadParameter(f"{text!r} is not FIELD=JSON", param_hint="--set")
    try:
        return field, json.loads(value)
    except ValueError as error:
        hint = f"{value!r} is no JSON; a string is written {field}='{json.dumps(value)}'"
        raise typer.BadParameter(hint, param_hint="--set") from error


def pair(text: str) -> tuple[str, str]:
    """`a=b=c` -> ("a", "b=c")."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--metadata")
    return key, value


def put(body: dict[str, Any], field: str, value: Any) -> None:
    """Puts `value` where `field`, with dots between its sections, says."""
    *parents, last = field.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
        if not isinstance(body, dict):
            raise typer.BadParameter(f"{parent} of {field} is no section", param_hint="--set")
    body[last] = value
