"""The comparison, `/compare?jobs=a,b,c`: some runs side by side, what differs between them, what came of it."""

import re
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from services.jobqueue.records import JobRecord
from services.web.run import flat
from services.web.site import Site, Visitor

MOST = 10
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
# Names and ties to other runs are no part of how something learns.
_NOT_COMPARED = ("name", "verify_of", "retry_of")


def add(site: Site) -> None:
    """`/compare`."""

    @site.page("/compare")
    def compare(request: Request, visitor: Visitor) -> Response:
        asked = asked_for(request.query_params.getlist("jobs"))
        looked_up = {
            job_id: site.sources.get_job(visitor.tenant, job_id) if _JOB_ID.fullmatch(job_id) else None
            for job_id in asked[:MOST]
        }
        jobs = [job for job in looked_up.values() if job]
        datasets = site.sources.names_of_datasets(job.spec.dataset for job in jobs if job.spec)
        return site.render(
            "compare.html",
            visitor,
            jobs=jobs,
            missing=[job_id for job_id, job in looked_up.items() if job is None],
            left_out=asked[MOST:],
            most=MOST,
            datasets=datasets,
            differing=differing(jobs),
            can_write=all(job.spec and job.spec.task == "language_model" for job in jobs),
        )


def asked_for(values: list[str]) -> list[str]:
    """Each run once, whether they come in one parameter or in several."""
    return list(dict.fromkeys(job for value in values for job in value.split(",") if job))


def differing(jobs: list[JobRecord]) -> list[tuple[str, list[Any]]]:
    """Fields that the jobs do not all have alike, with the value of each job."""
    specs = [flat(job.spec) if job.spec else {} for job in jobs]
    names = dict.fromkeys(name for spec in specs for name in spec if name not in _NOT_COMPARED)
    rows = [(name, [spec.get(name) for spec in specs]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]
