"""One claimed job in a trainer's hands: its lease, what it needs, and what the queue is told of its end.

Knows no Ray and does not train.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from rnncore.errors import Cancelled, InvalidInput, LeaseLost, Stopped, Suspended, TimedOut
from rnncore.ranks import ALONE, Ranks
from services.faults import job_error
from services.jobqueue.claims import ClaimedJob, SignOfLife
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from services.storage import Storage
from workers.inputs import Data, Inputs, load_inputs
from workers.reporter import QueueReporter

log = logging.getLogger(__name__)


class Rooms(NamedTuple):
    """What a trainer works with. `end_process` ends it, where nothing else stops a thread that is stuck."""

    settings: Settings
    scripts: RedisScripts
    queue: JobQueue
    storage: Storage
    end_process: Callable[[], None]


class ClaimedRun:
    """The lease lasts while `held` is entered."""

    def __init__(self, claim: Claim, rooms: Rooms, sign_of_life: SignOfLife | None = None) -> None:
        self.claim = claim
        self._rooms = rooms
        self.held = ClaimedJob(
            rooms.scripts,
            claim,
            lease_seconds=rooms.settings.lease_seconds,
            stall_seconds=rooms.settings.stall_seconds,
            end_process=rooms.end_process,
            sign_of_life=sign_of_life,
        )
        self.reporter = QueueReporter(self.held, rooms.storage, rooms.settings.secret)

    def begin(
        self,
        start: Literal["warm", "cold"],
        *,
        ranks: Ranks = ALONE,
        nodes: Sequence[str] = (),
        data: Data | None = None,
    ) -> Inputs:
        """What the job needs, once it is there; `data` if they are. Raises what the job ends by."""
        reporter, rooms, claim = self.reporter, self._rooms, self.claim
        reporter.began(start=start, ranks=ranks, nodes=nodes)
        inputs = reporter.patiently(
            lambda: load_inputs(claim, rooms.queue, rooms.storage, rooms.settings.secret, reporter.warn, data)
        )
        reporter.loaded(
            inputs.data,
            resume=inputs.resume.manifest if inputs.resume else None,
            kept=rooms.queue.checkpoints(claim.tenant, claim.job),
        )
        return inputs

    def end(self, error: Exception | None) -> str:
        """Tells how the job ended: by what its training raised, None for nothing. Answers that in a word."""
        try:
            return self._tell_end(error)
        except LeaseLost as lost:
            log.warning("%s", lost)  # and writes no more: the rest of its history is its successor's
            return "lost"
        except Exception as fault:
            if error is not None:
                raise
            return self.end(fault)

    def _tell_end(self, error: Exception | None) -> str:
        reporter = self.reporter
        if error is None and not reporter.has_published:
            error = InvalidInput(
                f"nothing is left to train: {self.claim.spec.retry_of} used up the limits of train; raise them",
                param="train.max_steps",
            )
        if error is None:
            reporter.close()
            self.held.finish("succeeded", reporter.parameters_sha256)
            return "succeeded"
        if isinstance(error, LeaseLost):
            raise error
        if isinstance(error, Cancelled):
            reporter.say("info", "cancelled by its owner")
            reporter.close()
            self.held.finish("cancelled")
            return "cancelled"
        if isinstance(error, Suspended):
            reporter.say("info", f"{error}, to go on later")
            reporter.close()
            self.held.suspend()
            return "suspended"
        with suppress(Stopped, TimedOut):  # that it is to stop, which is what makes it end perhaps, is said by then
            reporter.say("error", f"{type(error).__name__}: {error}")
        reporter.close()
        fail(self.held, error, reporter.log_tail())
        return "failed"


def fail(held: ClaimedJob, error: Exception, log_tail: str) -> None:
    """Ends the attempt by `error`. Raises LeaseLost."""
    log.error("%s failed", held.claim.job, exc_info=error)
    description, retriable = job_error(error)
    held.fail(description | {"log_tail": log_tail}, retriable=retriable)
