"""The Ray actor that trains. It holds the lease of its job itself, so that whoever works is whoever is believed.

An actor imports torch and Lightning when it is made and then waits: a job that finds one starts within a fraction of
a second. Knows no HTTP and does not choose what to run.
"""

import importlib
import logging
import os
from collections.abc import Callable
from typing import Any, Literal, cast

import ray
import structlog
import torch

from rnncore.errors import Cancelled, InvalidInput, LeaseLost, Suspended
from rnncore.fit import Job, fit
from services.faults import job_error
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim
from services.jobqueue.scripts import RedisScripts
from services.logs import configure_logs
from services.settings import Settings
from services.storage import Storage
from services.traces import configure_traces, span
from workers.inputs import load_inputs
from workers.reporter import QueueReporter

_STUCK = 75  # os.EX_TEMPFAIL: the exit status of a trainer that ended itself

log = logging.getLogger(__name__)


class Trainer:
    """Runs one job after another in one process. Plain Python; `TrainerActor` is one behind Ray."""

    def __init__(
        self, settings: Settings, *, threads: int, end_process: Callable[[], None] = lambda: os._exit(_STUCK)
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

    def run(self, claim: Claim, start: Literal["warm", "cold"]) -> str:
        """Trains the claimed job to whatever end it comes to; answers that end. Never raises for a fault of the job."""
        self._jobs_run += 1
        torch.set_num_threads(self._threads)
        torch.set_default_dtype(torch.float32)
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
                return self._train(held, reporter, start)
            except LeaseLost as error:
                log.warning("%s", error)  # and writes no more: the rest of its history is its successor's
                return "lost"
            except BaseException:
                reporter.close()
                raise

    def _train(self, held: ClaimedJob, reporter: QueueReporter, start: Literal["warm", "cold"]) -> str:
        claim = held.claim
        try:
            reporter.began(start=start, threads=self._threads)
            inputs = reporter.patiently(
                lambda: load_inputs(claim, self._queue, self._storage, self._settings.secret, reporter.warn)
            )
            reporter.loaded(
                inputs.data,
                resume=inputs.resume.manifest if inputs.resume else None,
                kept=self._queue.checkpoints(claim.tenant, claim.job),
            )
            fit(
                Job(claim.job, claim.epoch, claim.spec),
                inputs.data,
                reporter,
                resume=inputs.resume,
                initial=inputs.initial,
                replay=inputs.replay,
            )
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
            log.exception("%s failed", claim.job)
            description, retriable = job_error(error)
            reporter.say("error", f"{type(error).__name__}: {error}")
            reporter.close()
            held.fail(description | {"log_tail": reporter.log_tail()}, retriable=retriable)
            return "failed"


class TrainerProcess:
    """A Trainer in a process of its own. `run` occupies it; `ping` answers meanwhile."""

    def __init__(self, environment: dict[str, str], threads: int) -> None:
        os.environ |= environment
        configure_logs()
        configure_traces("trainer")
        self._trainer = Trainer(Settings(), threads=threads)
        self._running: str | None = None

    def ping(self) -> dict[str, Any]:
        """Process id and the job that runs now."""
        return {"pid": os.getpid(), "job": self._running, "gpu": torch.cuda.is_available()}

    @ray.method(concurrency_group="training")
    def run(self, claim: tuple[Any, ...], start: Literal["warm", "cold"]) -> str:
        """Trains; see Trainer.run."""
        self._running = claim[0]
        try:
            return self._trainer.run(Claim(*claim), start)
        finally:
            self._running = None


# Every job runs on the same thread: OpenMP keeps a pool for each thread that computes, and two pools on the same cores
# let each other sleep and wake at every product of matrices (measured: 3 to 13 times slower).
ACTOR_OPTIONS: dict[str, Any] = {
    "max_restarts": 0,
    "max_task_retries": 0,
    "concurrency_groups": {"training": 1},
}
TrainerActor: Any = cast(Any, ray.remote)(**ACTOR_OPTIONS)(TrainerProcess)
