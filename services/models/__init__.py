"""Checkpoints as models: `<job>` is its best, `<job>:latest` its newest, `<job>:step-800` the one at that step.

An alias stands for one of these names.
"""

import re
from typing import get_args

from rnncore.errors import NotFound
from rnncore.spec import Cell
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Checkpoint

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MODEL = re.compile(r"^(?P<job>job-[0-9a-f]{16})(:(?P<which>latest|best|step-(?P<step>[0-9]{1,12})))?$")


def resolve(queue: JobQueue, tenant: str, model: str, *, param: str = "model") -> Checkpoint:
    """The checkpoint that answers for `model`.

    Raises NotFound naming `param`, also while a job has not published one yet.
    """
    match = _MODEL.match(named(queue, tenant, model))
    if match is None:
        raise _unknown(model, param)
    try:
        checkpoints = queue.checkpoints(tenant, match["job"])
    except NotFound as error:
        raise _unknown(model, param) from error
    if not checkpoints:
        raise NotFound(f"{match['job']} has published no checkpoint yet; ask again when it has", param=param)
    if match["step"]:
        found = [c for c in checkpoints if c.step == int(match["step"])]
    elif match["which"] == "latest":
        found = checkpoints
    else:
        found = [best_of(checkpoints)]
    if not found:
        kept = ", ".join(f"step-{c.step}" for c in reversed(checkpoints))
        raise NotFound(f"{match['job']} keeps no checkpoint at step {match['step']}; it has {kept}", param=param)
    return found[0]


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint:
    """The one that answers under the name of their job; `checkpoints` are all that it has, latest first."""
    return next((c for c in checkpoints if c.is_best), checkpoints[0])


def named(queue: JobQueue, tenant: str, model: str) -> str:
    """What an alias stands for; any other name is its own. Whether there is such a model is not asked."""
    alias = queue.aliases.get(tenant, model) if is_alias(model) else None
    return alias.model if alias else model


def is_alias(name: str) -> bool:
    """Whether `name` can be an alias: neither a job's model nor a cell to train is called so."""
    return bool(_ALIAS.fullmatch(name)) and not name.startswith("job-") and name not in get_args(Cell)


def _unknown(model: str, param: str) -> NotFound:
    return NotFound(f"no model {model!r}; list yours at GET /v1/models", param=param)
