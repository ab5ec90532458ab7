"""`webhooks [list|create|delete]`: where ends of jobs are told. Knows not whether the server allows any."""

from typing import TYPE_CHECKING, Annotated

import typer

import unroll
from unroll.commands.arguments import AsJson
from unroll.help_text import ADMINISTRATION, add_command, add_family
from unroll.terminal import dump, moment, note, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import Webhook


def register(app: typer.Typer) -> None:
    family = add_family(app, "webhooks", webhooks, panel=ADMINISTRATION, examples=("unroll webhooks",))
    add_command(family, "list", list_webhooks, examples=("unroll webhooks list --json",))
    add_command(family, "create", create, examples=("unroll webhooks create https://example.org/unroll",))
    add_command(family, "delete", delete, examples=("unroll webhooks delete wh-77aa...",))


def webhooks(context: typer.Context, as_json: AsJson = False) -> None:
    """List, make or delete URLs that are told of ended jobs."""
    if context.invoked_subcommand is None:
        list_webhooks(as_json=as_json)


def list_webhooks(as_json: AsJson = False) -> None:
    """List webhooks, newest first."""
    with unroll.Client() as client:
        found = list(client.webhooks.list())
    if as_json:
        print_json([dump(webhook) for webhook in found])
        return
    print_table(("ID", "URL", "CREATED"), map(_row, found))


def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="At a public address.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Make a webhook and print the secret that its messages are signed with. It is shown this once."""
    with unroll.Client() as client:
        made = client.webhooks.create(url)
    if as_json:
        print_json(dump(made))
        return
    typer.echo(made.secret)
    note(f"{made.id} is told of every end of a job; its secret is not shown again")


def delete(
    webhook: Annotated[str, typer.Argument(metavar="WEBHOOK_ID", show_default=False)], as_json: AsJson = False
) -> None:
    """Have nothing more told there."""
    with unroll.Client() as client:
        answer = client.webhooks.delete(webhook)
    if as_json:
        print_json(answer)
    else:
        note(f"{webhook} is deleted")


def _row(webhook: "Webhook") -> tuple[object, ...]:
    return webhook.id, webhook.url, moment(webhook.created_at)
