"""The pages of sweeps: `/sweeps`, `/sweeps/new`, `/sweeps/{id}`."""

import re
from typing import Any, cast

from fastapi import Request
from fastapi.responses import Response

from services.web import fields, sweep_view
from services.web.shelves import SweepShelf
from services.web.site import Site, Visitor
from services.web.sweep_view import Order

_ID = re.compile(r"sweep-[0-9a-f]{16}")
_FRESH = ("train.learning_rate", "model.hidden_size")
_PINNED = ("train.max_steps", "train.validate_every_steps")


def add(site: Site) -> None:
    """The list, the form, one sweep, and of both what they ask for anew."""

    def listed(template: str, request: Request, visitor: Visitor) -> Response:
        after = request.query_params.get("after")
        found, has_more = site.sources.shelves.sweeps(visitor.tenant, after)
        next_page = found[-1].id if has_more else None
        return site.render(template, visitor, sweeps=found, after=after, next_page=next_page, view=sweep_view)

    @site.page("/sweeps")
    def sweeps(request: Request, visitor: Visitor) -> Response:
        return listed("sweeps.html", request, visitor)

    @site.part("/parts/sweeps")
    def sweeps_part(request: Request, visitor: Visitor) -> Response:
        return listed("sweeps_table.html", request, visitor)

    @site.page("/sweeps/new")
    def new(request: Request, visitor: Visitor) -> Response:
        datasets, _ = site.sources.shelves.datasets(visitor.tenant, None)
        return site.render(
            "sweep_new.html",
            visitor,
            datasets=datasets,
            chosen=request.query_params.get("dataset", ""),
            fields=fields.searchable(),
            fresh=_FRESH,
            pinned=_PINNED,
        )

    def found(request: Request, visitor: Visitor) -> SweepShelf | None:
        sweep_id = request.path_params["sweep_id"]
        return site.sources.shelves.sweep(visitor.tenant, sweep_id) if _ID.fullmatch(sweep_id) else None

    @site.page("/sweeps/{sweep_id}")
    def sweep(request: Request, visitor: Visitor) -> Response:
        shelf = found(request, visitor)
        if shelf is None:
            return site.not_found(visitor, f"sweep {request.path_params['sweep_id']}")
        return site.render("sweep.html", visitor, **_shown(shelf, request))

    @site.part("/parts/sweeps/{sweep_id}")
    def sweep_part(request: Request, visitor: Visitor) -> Response:
        shelf = found(request, visitor)
        if shelf is None:
            return site.not_found(visitor, "sweep of this part")
        return site.render("sweep_part.html", visitor, **_shown(shelf, request))


def _shown(shelf: SweepShelf, request: Request) -> dict[str, Any]:
    asked = request.query_params.get("order")
    order = cast(Order, asked if asked == "number" else "best")
    spec = shelf.report.spec
    return {
        "sweep": shelf.report,
        "trials": sweep_view.ordered(shelf.report, shelf.trials, order),
        "order": order,
        "view": sweep_view,
        "rungs": sweep_view.rungs(shelf.report, shelf.trials),
        "compared": sweep_view.best_jobs(shelf.report, shelf.trials),
        "command": sweep_view.command(spec) if spec else None,
        "spec_json": sweep_view.as_file(spec) if spec else None,
    }
