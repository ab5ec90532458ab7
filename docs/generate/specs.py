"""`reference/job.md` and `reference/sweep.md`: every field that a client may ask for, from `rnncore.spec`."""

from pydantic import BaseModel

from docs.generate.fields import fields_table
from docs.generate.markdown import anchor
from rnncore.spec import JobSpec, ModelSpec, ResourcesSpec, TrainSpec
from rnncore.sweep_spec import (
    Choices,
    ObjectiveSpec,
    Range,
    SearchSpec,
    SuccessiveHalving,
    SweepBudget,
    SweepSpec,
)

_JOB = """\
What `POST /v1/jobs` and `unroll submit` take. A field that you leave out gets the default of this table; a field that is
not here is refused by its name. On the command line `--set train.learning_rate=0.003` sets any of them. A job that was
accepted shows every field with its value: `unroll jobs show JOB`.

`max_steps`, `max_epochs` and `max_seconds` of `train`: the one that is reached first ends the job, and naming any removes
the defaults of the others.
"""
_SWEEP = """\
What `POST /v1/sweeps` and `unroll sweep` take: a [job](job.md), and what is to be tried in it. How a search goes, and what
its answer tells, stands in [Search for the best values](../how-to/sweeps.md).
"""


def job_page() -> str:
    sections: dict[str, type[BaseModel]] = {
        "The job": JobSpec,
        "model": ModelSpec,
        "train": TrainSpec,
        "resources": ResourcesSpec,
    }
    return _page("Fields of a job", _JOB, sections)


def sweep_page() -> str:
    sections: dict[str, type[BaseModel]] = {
        "The sweep": SweepSpec,
        "A range": Range,
        "A list of values": Choices,
        "search": SearchSpec,
        "objective": ObjectiveSpec,
        "budget": SweepBudget,
        "early_stopping": SuccessiveHalving,
    }
    return _page("Fields of a sweep", _SWEEP, sections)


def _page(title: str, intro: str, sections: dict[str, type[BaseModel]]) -> str:
    headings = {model.__name__: heading for heading, model in sections.items()}

    def link(name: str) -> str:
        if name == "JobSpec" and name not in headings:
            return "[a job](job.md)"
        return f"[{headings[name]}](#{anchor(headings[name])})"

    parts = [f"# {title}\n", intro]
    for heading, model in sections.items():
        said = " ".join((model.__doc__ or "").split())
        parts += [f"## {heading}\n", f"{said}\n", fields_table(model.model_json_schema(), link)]
    return "\n".join(parts)
