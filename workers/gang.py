"""Jobs of several workers: a run of Ray Train for each, and the process that drives it.

Ray Train places the ranks, all or none, and ends them all when one is lost. It retries nothing: the queue does, from
the job's last checkpoint. The driver holds the lease until the first rank does. Where the driver ends, Ray ends them.
"""

import importlib
import logging
import os
import tempfile
import threading
from typing import Any, Literal, NamedTuple, cast

import ray
import structlog

from services.jobqueue import claims
from services.jobqueue.claims import STUCK, ClaimedJob
from services.jobqueue.records import Claim
from services.jobqueue.scripts import RedisScripts
from services.logs import configure_logs
from services.settings import Settings
from services.traces import configure_traces
from workers.places import Place

log = logging.getLogger(__name__)

# Ray Train reads them when a run starts.
_RAY_TRAIN = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # or the end of a run is seen 2 s late
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # a busy node takes its time to import torch; the lease is held
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a node that goes is a lost worker, and the queue's to deal with
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_LOOK_SECONDS = 0.1


class Member(NamedTuple):
    """Where a rank runs, and on how many threads."""

    node_id: str
    threads: int


class GangDriver:
    """Drives one job of several workers, in a process of its own. `run` occupies it; the rest answers meanwhile."""

    def __init__(self, environment: dict[str, str], place: Place, members: list[Member]) -> None:
        os.environ |= environment | _RAY_TRAIN
        configure_logs()
        configure_traces("gang")
        self._environment = environment
        self._place = place
        self._members = members
        self._settings = Settings()
        self._scripts = RedisScripts(self._settings.redis_url or "", self._settings.secret)
        self._running: list[str] = []
        self._is_held_by_rank = threading.Event()

    def ping(self) -> dict[str, Any]:
        """Process id, the job that runs now, and the place of its ranks."""
        return {"pid": os.getpid(), "jobs": self._running, "place": self._place}

    def rank_holds(self) -> None:
        """The first rank renews the lease from now on."""
        self._is_held_by_rank.set()

    @ray.method(concurrency_group="training")
    def run(self, claim: tuple[Any, ...], start: Literal["warm", "cold"]) -> str:
        """Trains the claimed job to whatever end it comes to; answers that end."""
        del start  # ranks are always made for their job
        held = Claim(*claim)
        self._running = [held.job]
        try:
            return self._run(held)
        finally:
            self._running = []

    def _run(self, claim: Claim) -> str:
        outcome: list[str] = []
        driver = ray.get_runtime_context().current_actor
        training = threading.Thread(target=lambda: outcome.append(self._fit(claim, driver)), daemon=True)
        held = ClaimedJob(
            self._scripts,
            claim,
            lease_seconds=self._settings.lease_seconds,
            stall_seconds=self._settings.stall_seconds,
            end_process=lambda: os._exit(STUCK),
        )
        with held, structlog.contextvars.bound_contextvars(job_id=claim.job, epoch=claim.epoch):
            training.start()
            while training.is_alive() and not self._is_held_by_rank.wait(_LOOK_SECONDS):
                if end := held.end_before_start():
                    return end  # whoever made this process ends it now, and the ranks with it
        training.join()
        return outcome[0] if outcome else "broken"

    def _fit(self, claim: Claim, driver: Any) -> str:
        make_run = importlib.import_module("workers.ray_train").make_run  # and torch, which the dispatcher does without
        nodes = [member.node_id for member in self._members]
        config = {
            "claim": tuple(claim),
            "environment": self._environment,
            "threads": {member.node_id: member.threads for member in self._members},
            "nodes": nodes,
            "driver": driver,
        }
        name, has_gpu = f"{claim.job}-{claim.epoch}", claim.seat == "gpu"
        try:
            with tempfile.TemporaryDirectory(prefix="unroll-gang-") as folder:
                run = make_run(config, name=name, folder=folder, nodes=nodes, has_gpu=has_gpu)
                return str(run.fit().return_value)
        except Exception as error:
            log.warning("the gang of %s ended: %s", claim.job, error)
            claims.lose(self._scripts, claim)  # unless a rank has said how it ended
            return "broken"


GANG_OPTIONS: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"training": 1}}
GangActor: Any = cast(Any, ray.remote)(**GANG_OPTIONS)(GangDriver)
