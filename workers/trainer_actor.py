"""The Ray actor around a Trainer. It imports torch and Lightning when it is made and then waits for jobs.

A job that finds one starts within a fraction of a second. This file imports neither: the dispatcher, which makes the
actors, is there a few seconds sooner and 250 MB smaller without.
"""

import importlib
import os
from typing import Any, Literal, cast

import ray

from services.jobqueue.records import Claim
from services.logs import configure_logs
from services.settings import Settings
from services.traces import configure_traces
from workers.places import Place


class TrainerProcess:
    """A Trainer in a process of its own. `run` occupies it; `ping` answers meanwhile."""

    def __init__(self, environment: dict[str, str], threads: int, place: Place | None = None) -> None:
        """See Trainer."""
        os.environ |= environment
        configure_logs()
        configure_traces("trainer")
        self._place = place
        trainer = importlib.import_module("workers.trainer")
        self._trainer = trainer.Trainer(Settings(), threads=threads, place=place)
        self._running: list[str] = []

    def ping(self) -> dict[str, Any]:
        """Process id, the jobs that run now, the place that the process was made for, and whether it fuses trials."""
        return {"pid": os.getpid(), "jobs": self._running, "place": self._place, "can_fuse": self._trainer.can_fuse}

    @ray.method(concurrency_group="training")
    def run(self, claim: tuple[Any, ...], start: Literal["warm", "cold"]) -> str:
        """Trains; see Trainer.run."""
        self._running = [claim[0]]
        try:
            return str(self._trainer.run(Claim(*claim), start))
        finally:
            self._running = []

    @ray.method(concurrency_group="training")
    def run_fused(self, claimed: list[tuple[Any, ...]], start: Literal["warm", "cold"]) -> list[str]:
        """Trains trials together; see Trainer.run_fused."""
        self._running = [claim[0] for claim in claimed]
        try:
            return list(self._trainer.run_fused([Claim(*claim) for claim in claimed], start))
        finally:
            self._running = []


# Every job runs on the same thread: OpenMP keeps a pool for each thread that computes, and two pools on the same cores
# let each other sleep and wake at every product of matrices (measured: 3 to 13 times slower).
ACTOR_OPTIONS: dict[str, Any] = {
    "max_restarts": 0,
    "max_task_retries": 0,
    "concurrency_groups": {"training": 1},
}
TrainerActor: Any = cast(Any, ray.remote)(**ACTOR_OPTIONS)(TrainerProcess)
