"""`keys [list|create|revoke]`. Knows no scope: the server does."""

import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.arguments import AsJson
from unroll.help_text import ADMINISTRATION, add_command, add_family
from unroll.terminal import dump, moment, note, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import ApiKey

_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


def register(app: typer.Typer) -> None:
    family = add_family(app, "keys", keys, panel=ADMINISTRATION, examples=("unroll keys",))
    add_command(family, "list", list_keys, examples=("unroll keys list --json",))
    add_command(
        family,
        "create",
        create,
        examples=(
            "unroll keys create --name ci --scopes read,train --expires 30d",
            "unroll keys create --tenant lab --requests-per-minute 600",
        ),
    )
    add_command(family, "revoke", revoke, examples=("unroll keys revoke key-3b1d...",))


def keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List, make or revoke API keys."""
    if context.invoked_subcommand is None:
        list_keys(as_json=as_json)


def list_keys(as_json: AsJson = False) -> None:
    """List keys, newest first."""
    with unroll.Client() as client:
        found = list(client.keys.list())
    if as_json:
        print_json([dump(key) for key in found])
        return
    print_table(("ID", "NAME", "TENANT", "SCOPES", "PER MINUTE", "CREATED", "EXPIRES"), map(_row, found))


def create(
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose jobs and data it sees.", show_default="your own")] = None,
    scopes: Annotated[
        str | None,
        typer.Option(
            "--scopes", help="Of read, train, sample, admin; comma separated.", show_default="read,train,sample"
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="From now: 30d, 12h, 15m.", show_default="never")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="How often it may ask.", show_default="any")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is shown this once: the server keeps only its HMAC."""
    wishes: dict[str, Any] = {
        "name": name,
        "tenant": tenant,
        "scopes": [scope.strip() for scope in scopes.split(",")] if scopes else None,
        "expires_at": time.time() + _seconds(expires) if expires else None,
        "requests_per_minute": requests_per_minute,
    }
    with unroll.Client() as client:
        made = client.keys.create(**{field: value for field, value in wishes.items() if value is not None})
    if as_json:
        print_json(dump(made))
        return
    typer.echo(made.key)
    note(f"{made.id} of tenant {made.tenant}, may {', '.join(made.scopes)}; it is not shown again")


def revoke(key: Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)], as_json: AsJson = False) -> None:
    """Let a key in no more, from its next request on."""
    with unroll.Client() as client:
        answer = client.keys.revoke(key)
    if as_json:
        print_json(answer)
    else:
        note(f"{key} is revoked")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; write 15m, 12h or 30d", param_hint="--expires")
    return int(found[1]) * _SECONDS[found[2]]


def _row(key: "ApiKey") -> tuple[object, ...]:
    expires = moment(key.expires_at) if key.expires_at else "never"
    return key.id, key.name, key.tenant, ",".join(key.scopes), key.requests_per_minute, moment(key.created_at), expires
