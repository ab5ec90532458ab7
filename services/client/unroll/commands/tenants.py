"""`tenants [list|set]`: shares and quotas."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.arguments import AsJson
from unroll.help_text import ADMINISTRATION, add_command, add_family
from unroll.terminal import dump, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import Tenant

_HEADER = ("TENANT", "WEIGHT", "RUNNING", "AT MOST", "READY", "AT MOST", "STORED BYTES", "AT MOST")


def register(app: typer.Typer) -> None:
    family = add_family(app, "tenants", tenants, panel=ADMINISTRATION, examples=("unroll tenants",))
    add_command(family, "list", list_tenants, examples=("unroll tenants list --json",))
    add_command(
        family,
        "set",
        set_limits,
        examples=(
            "unroll tenants set lab --weight 2 --max-running 4",
            "unroll tenants set lab --max-storage-bytes -1",
        ),
    )


def tenants(context: typer.Context, as_json: AsJson = False) -> None:
    """List tenants; set the share and the quotas of one."""
    if context.invoked_subcommand is None:
        list_tenants(as_json=as_json)


def list_tenants(as_json: AsJson = False) -> None:
    """List tenants with what each has running and ready to start."""
    with unroll.Client() as client:
        found = list(client.tenants.list())
    if as_json:
        print_json([dump(tenant) for tenant in found])
        return
    print_table(_HEADER, map(_row, found))


def set_limits(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", show_default=False)],
    weight: Annotated[float | None, typer.Option(help="Share of the workers, against other tenants'.")] = None,
    max_running: Annotated[int | None, typer.Option(help="Workers at once; -1 lifts the limit.")] = None,
    max_gpus: Annotated[int | None, typer.Option(help="GPUs at once; -1 lifts the limit.")] = None,
    max_queued: Annotated[int | None, typer.Option(help="Jobs ready to start; -1 lifts the limit.")] = None,
    max_storage_bytes: Annotated[
        int | None, typer.Option(help="Bytes of data sets and checkpoints; -1 lifts the limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what a tenant may take; what is not named stays as it is."""
    wishes = {
        "weight": weight,
        "max_running": max_running,
        "max_gpus": max_gpus,
        "max_queued": max_queued,
        "max_storage_bytes": max_storage_bytes,
    }
    with unroll.Client() as client:
        now = client.tenants.get(tenant)
        limits = {field: getattr(now, field) if wish is None else wish for field, wish in wishes.items()}
        known: dict[str, Any] = {field: limit for field, limit in limits.items() if limit is not None and limit != -1}
        changed = client.tenants.put(tenant, **known)
    if as_json:
        print_json(dump(changed))
    else:
        print_table(_HEADER, [_row(changed)])


def _row(tenant: "Tenant") -> tuple[object, ...]:
    most = (tenant.max_running, tenant.max_queued, tenant.max_storage_bytes)
    running, queued, stored = ("-" if limit is None else f"{limit:,}" for limit in most)
    now = f"{tenant.stored_bytes:,}"
    return tenant.id, f"{tenant.weight:g}", tenant.running, running, tenant.queued, queued, now, stored
