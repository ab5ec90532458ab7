"""The page of one run, `/jobs/{id}/{tab}`: its head, and a tab of what there is to know of it."""

import re

from fastapi import Request
from fastapi.responses import Response

from services.web.site import HERE, Site, Visitor

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_TABS = ("overview", "charts", "samples", "inside", "logs", "system", "config", "events")
# A tab is shown once its template is there: `inside.html` of the inside, `run_TAB.html` of each other.
TABS = tuple(
    tab for tab in _TABS if (HERE / "templates" / (f"run_{tab}.html" if tab != "inside" else "inside.html")).exists()
)


def add(site: Site) -> None:
    """`/jobs/{id}`, the overview, and `/jobs/{id}/{tab}`."""

    def run(request: Request, visitor: Visitor) -> Response:
        job_id, tab = request.path_params["job_id"], request.path_params.get("tab", TABS[0])
        job = site.sources.get_job(visitor.tenant, job_id) if _JOB_ID.fullmatch(job_id) else None
        if job is None:
            return site.not_found(visitor, f"run {job_id}")
        if tab not in TABS:
            return site.not_found(visitor, f"tab {tab} of a run")
        return site.render(f"run_{tab}.html", visitor, job=job, tab=tab, tabs=TABS)

    site.page("/jobs/{job_id}")(run)
    site.page("/jobs/{job_id}/{tab}")(run)
