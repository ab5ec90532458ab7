"""The Ray actor that trains. It holds the lease of its job itself, so that whoever works is whoever is believed.

An actor imports torch and Lightning when it is made and then waits: a job that finds one starts within a fraction of
a second. Of a job of several workers (`gang`) the first rank is such a trainer, the others follow it. Knows no HTTP and
does not choose what to run.
"""

import importlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import ray
import structlog
import torch

from rnncore.checkpoint import Snapshot
from rnncore.errors import Cancelled, InvalidInput, LeaseLost, Stopped, Suspended
from rnncore.fit import Job, fit
from rnncore.loop import Observer, Point
from rnncore.ranks import ALONE, Ranks
from rnncore.tasks import Sample
from services.faults import job_error
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim
from services.jobqueue.scripts import RedisScripts
from services.logs import configure_logs
from services.settings import Settings
from services.storage import Storage
from services.traces import configure_traces, span
from workers.inputs import Inputs, load_inputs
from workers.places import WHOLE, Place
from workers.reporter import QueueReporter

STUCK = 75  # os.EX_TEMPFAIL: the exit status of a trainer that ended itself

log = logging.getLogger(__name__)


class Trainer:
    """Runs one job after another in one process. Plain Python; `TrainerActor` is one behind Ray."""

    def __init__(
        self, settings: Settings, *, threads: int, end_process: Callable[[], None] = lambda: os._exit(STUCK)
    ) -> None:
        self._end_process = end_process
        self._settings = settings
        self._scripts = RedisScripts(settings.redis_url or "", settings.secret)
        self._queue = JobQueue(self._scripts)
        self._storage = Storage.of(settings)
        self._threads = threads
        self._jobs_run = 0
        # Lightning imports its parts when they are first used; have it over before a job waits for it.
        importlib.import_module("pytorch_lightning.trainer.trainer")

    def run(self, claim: Claim, start: Literal["warm", "cold"], ranks: Ranks = ALONE, nodes: Sequence[str] = ()) -> str:
        """Trains the claimed job to whatever end it comes to; answers that end. Never raises for a fault of the job.

        As the first of several `ranks`, which run on `nodes`, it raises RuntimeError where another has died, which is
        no end of the job.
        """
        self._reset()
        held = ClaimedJob(
            self._scripts,
            claim,
            lease_seconds=self._settings.lease_seconds,
            stall_seconds=self._settings.stall_seconds,
            end_process=self._end_process,
        )
        about: dict[str, str | int] = {"job_id": claim.job, "epoch": claim.epoch}
        with held, structlog.contextvars.bound_contextvars(**about), span("job.run", claim.traceparent, about):
            reporter = QueueReporter(held, self._storage, self._settings.secret)
            try:
                return self._train(held, reporter, start, ranks, nodes)
            except LeaseLost as error:
                log.warning("%s", error)  # and writes no more: the rest of its history is its successor's
                return "lost"
            except BaseException:
                reporter.close()
                raise

    def follow(self, claim: Claim, ranks: Ranks) -> None:
        """Trains the claimed job as one of `ranks` but the first, which decides when it ends.

        What fails here alone is told to the queue. Raises whatever ends it but Stopped.
        """
        self._reset()
        held = ClaimedJob(self._scripts, claim, lease_seconds=self._settings.lease_seconds)
        try:
            self._fit(claim, self._inputs(claim, log.warning), _Follower(), ranks)
        except Stopped:
            pass
        except Exception as error:
            if not _is_of_others(error):
                self._fail(held, error, "")
            raise

    def _reset(self) -> None:
        self._jobs_run += 1
        torch.set_num_threads(self._threads)
        torch.set_default_dtype(torch.float32)

    def _train(
        self,
        held: ClaimedJob,
        reporter: QueueReporter,
        start: Literal["warm", "cold"],
        ranks: Ranks,
        nodes: Sequence[str],
    ) -> str:
        claim = held.claim
        try:
            reporter.began(start=start, threads=self._threads, ranks=ranks, nodes=nodes)
            inputs = reporter.patiently(lambda: self._inputs(claim, reporter.warn))
            reporter.loaded(
                inputs.data,
                resume=inputs.resume.manifest if inputs.resume else None,
                kept=self._queue.checkpoints(claim.tenant, claim.job),
            )
            self._fit(claim, inputs, reporter, ranks)
            if not reporter.has_published:
                raise InvalidInput(
                    f"nothing is left to train: {claim.spec.retry_of} used up the limits of train; raise them",
                    param="train.max_steps",
                )
            reporter.close()
            held.finish("succeeded", reporter.parameters_sha256)
            return "succeeded"
        except Cancelled:
            reporter.say("info", "cancelled by its owner")
            reporter.close()
            held.finish("cancelled")
            return "cancelled"
        except Suspended as error:
            reporter.say("info", f"{error}, to go on later")
            reporter.close()
            held.suspend()
            return "suspended"
        except LeaseLost:
            raise
        except Exception as error:
            if ranks.size > 1 and _is_of_others(error):
                raise
            reporter.say("error", f"{type(error).__name__}: {error}")
            reporter.close()
            self._fail(held, error, reporter.log_tail())
            return "failed"

    def _inputs(self, claim: Claim, warn: Callable[[str], None]) -> Inputs:
        return load_inputs(claim, self._queue, self._storage, self._settings.secret, warn)

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

    def _fail(self, held: ClaimedJob, error: Exception, log_tail: str) -> None:
        log.error("%s failed", held.claim.job, exc_info=error)
        description, retriable = job_error(error)
        held.fail(description | {"log_tail": log_tail}, retriable=retriable)


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


class TrainerProcess:
    """A Trainer in a process of its own. `run` occupies it; `ping` answers meanwhile."""

    def __init__(self, environment: dict[str, str], threads: int, place: Place | None = None) -> None:
        """`place` where it was made for one job, which gets a share of a GPU: all of it that may be used here."""
        os.environ |= environment
        configure_logs()
        configure_traces("trainer")
        self._place = place
        if place is not None and torch.cuda.is_available():
            limit_gpu_memory(place.quarters, torch.cuda.set_per_process_memory_fraction)
        self._trainer = Trainer(Settings(), threads=threads)
        self._running: str | None = None

    def ping(self) -> dict[str, Any]:
        """Process id, the job that runs now, and the place that the process was made for."""
        return {"pid": os.getpid(), "job": self._running, "place": self._place}

    @ray.method(concurrency_group="training")
    def run(self, claim: tuple[Any, ...], start: Literal["warm", "cold"]) -> str:
        """Trains; see Trainer.run."""
        self._running = claim[0]
        try:
            return self._trainer.run(Claim(*claim), start)
        finally:
            self._running = None


def limit_gpu_memory(quarters: int, set_fraction: Callable[[float], None]) -> None:
    """Keeps this process to its share of the GPU's memory: Ray counts shares of a GPU, and enforces none."""
    set_fraction(quarters / WHOLE)


# Every job runs on the same thread: OpenMP keeps a pool for each thread that computes, and two pools on the same cores
# let each other sleep and wake at every product of matrices (measured: 3 to 13 times slower).
ACTOR_OPTIONS: dict[str, Any] = {
    "max_restarts": 0,
    "max_task_retries": 0,
    "concurrency_groups": {"training": 1},
}
TrainerActor: Any = cast(Any, ray.remote)(**ACTOR_OPTIONS)(TrainerProcess)
