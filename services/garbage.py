"""Deletes from storage what no record refers to: what a killed writer left, and what could not be deleted in its time.

`python -m services.local gc` runs it by hand, the dispatcher every hour.
"""

import logging
import time
from contextlib import suppress
from typing import NamedTuple

from rnncore.errors import Conflict, NotFound
from services import layout
from services.jobqueue.references import References, installation, references
from services.jobqueue.scripts import RedisScripts
from services.storage import Storage

log = logging.getLogger(__name__)

GRACE_SECONDS = 24 * 3600.0
"""Nobody takes so long between the last byte of a file and the record that refers to it."""


class Garbage(NamedTuple):
    """A file or folder that no record refers to."""

    path: str
    num_files: int
    num_bytes: int


def collect(
    scripts: RedisScripts, storage: Storage, *, grace_seconds: float = GRACE_SECONDS, is_rehearsal: bool = False
) -> list[Garbage]:
    """Deletes what is older than the grace and that nothing refers to; a rehearsal only says what it would delete.

    Raises Conflict where the storage belongs to another queue, Unavailable.
    """
    _check_owner(storage, installation(scripts))
    oldest = time.time() - grace_seconds
    units: dict[layout.Unit, Garbage] = {}
    young = set()
    for file in storage.files():
        unit = layout.unit_of(file.path)
        if unit is None:
            continue
        if file.modified_at >= oldest:
            young.add(unit)
        _, num_files, num_bytes = units.get(unit, Garbage(unit.path, 0, 0))
        units[unit] = Garbage(unit.path, num_files + 1, num_bytes + file.num_bytes)
    # Asked after the listing: what was published since is not among the units, what was before is referred to.
    known = references(scripts)
    garbage = [size for unit, size in units.items() if unit not in young and not _is_needed(unit, known)]
    for path, num_files, num_bytes in [] if is_rehearsal else garbage:
        log.info("deleting %s, %d files of %d bytes: no record refers to it", path, num_files, num_bytes)
        storage.delete(path)
    return garbage


def _check_owner(storage: Storage, name: str) -> None:
    """A queue that is empty because it is the wrong one would take all that is stored for garbage."""
    owner = ""
    with suppress(NotFound):
        owner = storage.get(layout.OWNER).decode()
    if not owner:
        storage.put(layout.OWNER, name.encode())
    elif owner != name:
        raise Conflict(
            f"{storage.url} belongs to another queue than REDIS_URL names, so nothing was deleted; "
            f"if that queue is gone for good, delete the file {layout.OWNER} there"
        )


def _is_needed(unit: layout.Unit, known: References) -> bool:
    if unit.kind == "dataset":
        return unit.path in known.blobs
    if unit.kind == "checkpoint":
        return unit.path in known.checkpoints or known.jobs.get(unit.job) == unit.epoch
    return unit.kind == "job" and unit.job in known.jobs
