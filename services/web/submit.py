"""The submit page, `/submit`: a data set picked or uploaded, and every field of a JobSpec with its bounds.

`?from=JOB` fills it in as that job was asked for, `?dataset=` picks a data set. The page sends; /v1 checks.
"""

from typing import Any

from fastapi import Request
from fastapi.responses import Response

from rnncore.datasets.summaries import TASKS_OF_KIND
from rnncore.spec import JobSpec
from services.web.run import flat
from services.web.site import Site, Visitor
from services.web.spec_form import groups, tasks

# Which data an upload for a task is; the first kind that serves it.
KIND_OF_TASK = {task: kind for kind, served in reversed(TASKS_OF_KIND.items()) for task in served}


def add(site: Site) -> None:
    """`/submit`."""

    @site.page("/submit")
    def submit(request: Request, visitor: Visitor) -> Response:
        if "train" not in visitor.scopes:
            words = "Your key may not submit runs: it lacks the scope train."
            return site.render("trouble.html", visitor, 403, message=words)
        source = request.query_params.get("from", "")
        job = site.sources.get_job(visitor.tenant, source) if source else None
        if source and (job is None or job.spec is None):
            return site.not_found(visitor, f"run {source} to start from")
        picked = {"task": tasks()[0], "dataset": request.query_params.get("dataset"), "validation_dataset": None}
        given = picked | (_given(job.spec) if job and job.spec else {})
        datasets = site.sources.datasets(visitor.tenant)
        return site.render(
            "submit.html",
            visitor,
            given=given,
            source=job,
            groups=groups(given),
            tasks=tasks(),
            kind_of_task=KIND_OF_TASK,
            datasets=datasets,
            known={dataset.id for dataset in datasets},
        )


def _given(spec: JobSpec) -> dict[str, Any]:
    """What of a spec is not as it would be anyway; what ties it to another run is left out."""
    defaults = flat(JobSpec(dataset=spec.dataset, task=spec.task))
    changed = {name: value for name, value in flat(spec).items() if value != defaults.get(name)}
    return {**changed, "task": spec.task, "dataset": spec.dataset, "verify_of": None, "retry_of": None}
