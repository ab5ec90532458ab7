"""Ended jobs are kept so many days, then deleted with their checkpoints, history and log."""

import logging
import time
from contextlib import suppress

from rnncore.errors import Conflict, NotFound
from services import layout
from services.jobqueue.queue import JobQueue
from services.jobqueue.sweeps import Sweeps
from services.storage import Storage

log = logging.getLogger(__name__)

_BATCH = 100


def trim(queue: JobQueue, sweeps: Sweeps, storage: Storage, retention_days: float) -> int:
    """Deletes what ended longer ago; answers how many.

    What an unfinished job goes on from, an unfinished sweep has tried or an alias names is left.

    The record goes first, so that none ever names files that are not there; files without one are garbage.
    """
    needed = queue.sources() | sweeps.jobs_of_unfinished()
    trimmed = 0
    expired = queue.expired(time.time() - retention_days * 86_400, limit=_BATCH + len(needed))
    for tenant, job_id in expired:
        if job_id in needed:
            continue
        with suppress(Conflict, NotFound):  # since it was found, somebody named it or deleted it
            queue.delete_job(tenant, job_id)
            storage.discard(layout.job_folder(job_id))
            trimmed += 1
    if trimmed:
        log.info("%d jobs that ended over %g days ago were deleted", trimmed, retention_days)
    return trimmed
