"""The page of one run, `/jobs/{id}/{tab}`: its head, and a tab of what there is to know of it."""

import json
import re
import shlex
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from rnncore.spec import JobSpec
from services.jobqueue.records import JobRecord
from services.web.site import Site, Visitor

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_TABS = ("overview", "charts", "samples", "inside", "logs", "system", "config", "events")
# What the command line calls by a name of its own; all else goes through --set.
_FLAGS = (
    *("task", "name", "init_from", "priority"),
    *("model.cell", "model.hidden_size", "model.num_layers", "model.embedding_size", "model.dropout"),
    *("train.batch_size", "train.tbptt_steps", "train.max_steps", "train.max_epochs", "train.max_seconds"),
    *("train.learning_rate", "train.seed", "train.validate_every_steps", "train.checkpoint_every_steps"),
)


def add(site: Site) -> None:
    """`/jobs/{id}`, the overview; `/jobs/{id}/{tab}`; `/parts/jobs/{id}/{part}`, pieces of it that change."""

    def found(request: Request, visitor: Visitor) -> JobRecord | None:
        job_id = request.path_params["job_id"]
        return site.sources.get_job(visitor.tenant, job_id) if _JOB_ID.fullmatch(job_id) else None

    def shown(job: JobRecord) -> dict[str, Any]:
        """What every tab shows."""
        names = site.sources.names_of_datasets([job.spec.dataset] if job.spec else [])
        return {"job": job, "datasets": names}

    def run(request: Request, visitor: Visitor) -> Response:
        tab, job = request.path_params.get("tab", _TABS[0]), found(request, visitor)
        if job is None:
            return site.not_found(visitor, f"run {request.path_params['job_id']}")
        if tab not in _TABS:
            return site.not_found(visitor, f"tab {tab} of a run")
        more = _OF_TAB[tab](site, visitor, job) if tab in _OF_TAB else {}
        return site.render(f"run_{tab}.html", visitor, tab=tab, tabs=_TABS, **shown(job), **more)

    def part(request: Request, visitor: Visitor) -> Response:
        name, job = request.path_params["part"], found(request, visitor)
        if job is None or name not in ("head", "system"):
            return site.not_found(visitor, "such part of a run")
        more = _OF_TAB[name](site, visitor, job) if name in _OF_TAB else {}
        return site.render(f"run_{name}_part.html", visitor, **shown(job), **more)

    site.page("/jobs/{job_id}")(run)
    site.page("/jobs/{job_id}/{tab}")(run)
    site.part("/parts/jobs/{job_id}/{part}")(part)


def _system(site: Site, visitor: Visitor, job: JobRecord) -> dict[str, Any]:
    return {"checkpoints": site.sources.checkpoints(visitor.tenant, job.id)}


def _config(_: Site, __: Visitor, job: JobRecord) -> dict[str, Any]:
    if job.spec is None:
        return {"rows": [], "body": "", "command": ""}
    fields = flat(job.spec)
    defaults = flat(JobSpec(dataset=job.spec.dataset, task=job.spec.task))
    rows = [(name, value, defaults.get(name)) for name, value in fields.items()]
    body = json.dumps(job.spec.model_dump(mode="json"), indent=2)
    return {"rows": rows, "body": body, "command": command(fields, defaults)}


_OF_TAB = {"system": _system, "config": _config}


def flat(spec: JobSpec) -> dict[str, Any]:
    """The fields of a spec by their dotted names; metadata is one."""
    found: dict[str, Any] = {}
    for name, value in spec.model_dump(mode="json").items():
        if isinstance(value, dict) and name != "metadata":
            found |= {f"{name}.{inner}": part for inner, part in value.items()}
        else:
            found[name] = value
    return found


def command(fields: dict[str, Any], defaults: dict[str, Any]) -> str:
    """What to type to ask for the same."""
    words = ["unroll", "submit", fields["dataset"]]
    for name, value in fields.items():
        if name == "dataset" or value == defaults.get(name):
            continue
        if name in _FLAGS and value is not None and str(value).isprintable():
            words += ["--" + name.rpartition(".")[2].replace("_", "-"), str(value)]
        else:
            words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join(words)
