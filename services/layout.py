"""Where each thing lies in storage: the one place that spells these paths. Every id in them was made by the service."""

import re
from typing import Literal, NamedTuple

OWNER = "owner"
"""Names the queue whose records refer to what is stored here."""
DRAFTS = "drafts"
DRAFT_SUFFIX = ".draft"


def dataset_blob(tenant: str, nonce: str) -> str:
    """Each upload has a name of its own: deleting one can never take the bytes of another."""
    return f"datasets/{tenant}/{nonce}"


def job_folder(job_id: str) -> str:
    return f"jobs/{job_id}"


def checkpoints(job_id: str) -> str:
    return f"jobs/{job_id}/checkpoints"


def checkpoint(job_id: str, epoch: int, step: int) -> str:
    """An epoch writes under its own name: one that has lost its job can overwrite nothing of the next."""
    return f"jobs/{job_id}/checkpoints/{step:010}-{epoch:06}"


def metrics(job_id: str) -> str:
    return f"jobs/{job_id}/metrics"


def logs(job_id: str) -> str:
    return f"jobs/{job_id}/logs"


def samples(job_id: str) -> str:
    return f"jobs/{job_id}/samples"


class Unit(NamedTuple):
    """What is needed or not needed as a whole: a data set's blob, a checkpoint, the rest of a job, a draft."""

    kind: Literal["dataset", "checkpoint", "job", "draft"]
    path: str
    job: str = ""
    epoch: int = 0


_UNITS = re.compile(
    r"(?P<dataset>datasets/[^/]+/[^/]+)"
    r"|(?P<checkpoint>jobs/(?P<of>[^/]+)/checkpoints/\d+-(?P<epoch>\d+))/.+"
    r"|(?P<job>jobs/(?P<id>[^/]+))/(metrics|logs|samples)/[^/]+"
    r"|(?P<draft>drafts/[^/]+)(/.+)?"
)


def unit_of(path: str) -> Unit | None:
    """The unit that the file at `path` is of; None for what the service did not write."""
    found = _UNITS.fullmatch(path)
    if found is None:
        return None
    if path.endswith(DRAFT_SUFFIX):
        return Unit("draft", path)
    if found["checkpoint"]:
        return Unit("checkpoint", found["checkpoint"], found["of"], int(found["epoch"]))
    if found["job"]:
        return Unit("job", found["job"], found["id"])
    return Unit("dataset", found["dataset"]) if found["dataset"] else Unit("draft", found["draft"])
