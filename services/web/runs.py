"""The run list, `/`: every job of the tenant as a row."""

from fastapi import Request
from fastapi.responses import Response

from services.web.site import Site, Visitor


def add(site: Site) -> None:
    """`/`, and `/parts/runs`, the list alone."""

    @site.page("/")
    def runs(request: Request, visitor: Visitor) -> Response:
        if job := request.query_params.get("job"):  # how a run was addressed before it had a page
            return site.redirect(site.own(f"/jobs/{job}"))
        return site.render("runs.html", visitor, jobs=site.sources.list_jobs(visitor.tenant))

    @site.part("/parts/runs")
    def runs_part(_: Request, visitor: Visitor) -> Response:
        return site.render("runs_table.html", visitor, jobs=site.sources.list_jobs(visitor.tenant))
