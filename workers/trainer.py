"""Who trains. It holds the lease of its job itself, so that whoever works is whoever is believed.

Of a job of several workers (`gang`) the first rank is such a trainer, the others follow it. Knows no HTTP and does not
choose what to run.
"""

import importlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal

import structlog
import torch

from rnncore.checkpoint import Snapshot
from rnncore.errors import Cancelled, LeaseLost, Stopped, Suspended
from rnncore.fit import Job, fit, resolved_precision, threads_for
from rnncore.loop import Observer, Point
from rnncore.ranks import ALONE, Ranks
from rnncore.tasks import Sample
from services.jobqueue.claims import STUCK, ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from services.storage import Storage
from services.traces import span
from workers.claimed_run import ClaimedRun, Rooms, fail
from workers.fused_trials import FusedTrials
from workers.inputs import Inputs, load_inputs
from workers.places import WHOLE, Place

log = logging.getLogger(__name__)


class Trainer:
    """Runs one job after another in one process. Plain Python; `TrainerActor` is one behind Ray.

    `place` where it was made for one job, which gets a share of a GPU: all of it that may be used here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        threads: int,
        place: Place | None = None,
        end_process: Callable[[], None] = lambda: os._exit(STUCK),
    ) -> None:
        if place is not None and torch.cuda.is_available():
            limit_gpu_memory(place.quarters, torch.cuda.set_per_process_memory_fraction)
        scripts = RedisScripts(settings.redis_url or "", settings.secret)
        self._rooms = Rooms(settings, scripts, JobQueue(scripts), Storage.of(settings), end_process)
        self._threads = threads
        # Lightning imports its parts when they are first used; have it over before a job waits for it.
        importlib.import_module("pytorch_lightning.trainer.trainer")

    @property
    def can_fuse(self) -> bool:
        """Whether trials that leave their precision to the hardware can be fused here."""
        return resolved_precision("auto")[0] == "fp32"

    def run(self, claim: Claim, start: Literal["warm", "cold"], ranks: Ranks = ALONE, nodes: Sequence[str] = ()) -> str:
        """Trains the claimed job to whatever end it comes to; answers that end. Never raises for a fault of the job.

        As the first of several `ranks`, which run on `nodes`, it raises RuntimeError where another has died, which is
        no end of the job.
        """
        _reset(threads_for(claim.spec, self._threads, ranks))
        run = ClaimedRun(claim, self._rooms)
        about = _about(claim)
        with run.held, structlog.contextvars.bound_contextvars(**about), span("job.run", claim.traceparent, about):
            try:
                return self._train(run, start, ranks, nodes)
            except BaseException:
                run.reporter.close()
                raise

    def run_fused(self, claimed: Sequence[Claim], start: Literal["warm", "cold"]) -> list[str]:
        """Trains the claimed trials as one program, each to its own end; answers those ends. Never raises for a fault.

        On one thread: the products that are worth fusing are too small to be shared out among several.
        """
        _reset(1)
        trials = FusedTrials(claimed, self._rooms)
        with ExitStack() as spans:  # of each trial, until all are through
            for claim in claimed:
                spans.enter_context(span("job.run", claim.traceparent, _about(claim)))
            trials.train(start, lambda run, inputs: self._fit(run.claim, inputs, run.reporter, ALONE))
        return [trials.ends[claim.job] for claim in claimed]

    def follow(self, claim: Claim, ranks: Ranks) -> None:
        """Trains the claimed job as one of `ranks` but the first, which decides when it ends.

        What fails here alone is told to the queue. Raises whatever ends it but Stopped.
        """
        _reset(threads_for(claim.spec, self._threads, ranks))
        settings, scripts, queue, storage, _ = self._rooms
        held = ClaimedJob(scripts, claim, lease_seconds=settings.lease_seconds)
        try:
            inputs = load_inputs(claim, queue, storage, settings.secret, log.warning)
            self._fit(claim, inputs, _Follower(), ranks)
        except Stopped:
            pass
        except Exception as error:
            if not _is_of_others(error):
                fail(held, error, "")
            raise

    def _train(self, run: ClaimedRun, start: Literal["warm", "cold"], ranks: Ranks, nodes: Sequence[str]) -> str:
        try:
            self._fit(run.claim, run.begin(start, ranks=ranks, nodes=nodes), run.reporter, ranks)
        except Exception as error:
            is_own = ranks.size == 1 or isinstance(error, Cancelled | Suspended | LeaseLost)
            if not is_own and _is_of_others(error):
                raise
            return run.end(error)
        return run.end(None)

    def _fit(self, claim: Claim, inputs: Inputs, observer: Observer, ranks: Ranks) -> None:
        fit(
            Job(claim.job, claim.epoch, claim.spec),
            inputs.data,
            observer,
            resume=inputs.resume,
            initial=inputs.initial,
            replay=inputs.replay,
            ranks=ranks,
        )


def _reset(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)


def _about(claim: Claim) -> dict[str, str | int]:
    return {"job_id": claim.job, "epoch": claim.epoch}


class _Follower:
    """Observes nothing: the first rank says what there is to say, and stops all."""

    def before_step(self) -> None: ...
    def wants_suspension(self) -> bool:
        return False

    def warn(self, text: str) -> None: ...
    def after_point(self, point: Point) -> None: ...
    def after_checkpoint(self, snapshot: Snapshot, samples: list[Sample], *, is_best: bool) -> None: ...


def _is_of_others(error: Exception) -> bool:
    """Whether a rank ends because another one did: that one has said why, or its process is gone."""
    is_cut_off = isinstance(error, RuntimeError) and any(name in str(error).lower() for name in ("gloo", "nccl"))
    return isinstance(error, Stopped | torch.distributed.DistError) or is_cut_off


def limit_gpu_memory(quarters: int, set_fraction: Callable[[float], None]) -> None:
    """Keeps this process to its share of the GPU's memory: Ray counts shares of a GPU, and enforces none."""
    set_fraction(quarters / WHOLE)
