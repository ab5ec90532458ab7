"""Checkpoints as models: `<job>` is its best, `<job>:latest` its newest, `<job>:step-800` the one at that step."""

import re

from rnncore.errors import NotFound
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Checkpoint

_MODEL = re.compile(r"^(?P<job>job-[0-9a-f]{16})(:(?P<which>latest|best|step-(?P<step>[0-9]{1,12})))?$")


def resolve(queue: JobQueue, tenant: str, model: str) -> Checkpoint:
    """The checkpoint that answers for `model`. Raises NotFound, also while a job has not published one yet."""
    match = _MODEL.match(model)
    if match is None:
        raise NotFound(f"no model {model!r}; list yours at GET /v1/models", param="model")
    try:
        checkpoints = queue.checkpoints(tenant, match["job"])
    except NotFound as error:
        raise NotFound(f"no model {model!r}; list yours at GET /v1/models", param="model") from error
    if not checkpoints:
        raise NotFound(f"{match['job']} has published no checkpoint yet; ask again when it has", param="model")
    if match["step"]:
        found = [c for c in checkpoints if c.step == int(match["step"])]
    elif match["which"] == "latest":
        found = checkpoints
    else:
        found = [c for c in checkpoints if c.is_best] or checkpoints
    if not found:
        kept = ", ".join(f"step-{c.step}" for c in reversed(checkpoints))
        raise NotFound(f"{match['job']} keeps no checkpoint at step {match['step']}; it has {kept}", param="model")
    return found[0]
