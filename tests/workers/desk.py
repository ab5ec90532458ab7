"""A real queue and storage, and trainers of one job that report to them and train nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnncore.checkpoint import Snapshot
from rnncore.encoding import Encoding
from rnncore.errors import (
    StorageFull,
)
from rnncore.loop import Point
from rnncore.manifest import Manifest, Progress
from rnncore.spec import ModelSpec
from rnncore.tasks import Sample
from rnncore.text import TextData
from rnncore.vocabulary import BYTES
from services import layout
from services.jobqueue import claims
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from services.storage import Storage, read_history
from tests.services.queue_samples import LEASE_SECONDS, TENANT, add_datasets, submit
from workers.claimed_run import ClaimedRun, Rooms

DATA = TextData(BYTES, np.zeros(7, np.uint8), np.zeros(3, np.uint8))


def snapshot(step: int) -> Snapshot:
    manifest = Manifest(
        job="job-1",
        epoch=1,
        task="language_model",
        model=ModelSpec(),
        encoding=Encoding(vocabulary=BYTES),
        precision="fp32",
        progress=Progress(step=step, characters=10 * step, training_seconds=0.5),
        validation_loss=1.0 + step,
        parameters_sha256="",
        files={},
    )
    return Snapshot(manifest, {"w": torch.full((3,), float(step))}, {})


def point(step: int, validation_loss: float | None = None) -> Point:
    return Point(
        step=step,
        characters=30 * step,
        passes=0.5,
        train_loss=1.5,
        gradient_norm=0.5,
        clipped_steps=0,
        learning_rate=0.01,
        characters_per_second=9.0,
        training_seconds=0.1 * step,
        ratio=0.1,
        eta_seconds=3.0,
        validation_loss=validation_loss,
        metrics={},
    )


class Faulty(Storage):
    """Raises `faults` one by one where a history is written or a folder published; is full `num_full` times."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.faults: list[Exception] = []
        self.num_full = 0
        self.at_draft: Callable[[], None] = lambda: None

    def check_space(self) -> None:
        self.num_full -= 1
        if self.num_full >= 0:
            raise StorageFull("full")

    def draft_folder(self) -> Path:
        self.at_draft()
        return super().draft_folder()

    def put(self, *arguments: Any, **options: Any) -> None:
        self._fail()
        super().put(*arguments, **options)

    def publish_folder(self, *arguments: Any, **options: Any) -> None:
        self._fail()
        super().publish_folder(*arguments, **options)

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


class Desk:
    """A queue with one job, and trainers that report it, one after the other."""

    def __init__(self, scripts: RedisScripts, storage: Faulty, settings: Settings, **changes: Any) -> None:
        self.scripts, self.storage = scripts, storage
        self.queue = JobQueue(scripts)
        self._rooms = Rooms(settings, scripts, self.queue, storage, lambda: None)
        add_datasets(self.queue)
        self.job = submit(self.queue, train={"batch_size": 60, "keep_checkpoints": 2}, **changes).id
        self.next_trainer()

    def next_trainer(self) -> None:
        held = claims.claim(self.scripts, lease_seconds=LEASE_SECONDS)
        assert held is not None
        self.run = ClaimedRun(held, self._rooms)
        self.reporter = self.run.reporter

    def lose_trainer(self) -> None:
        claims.lose(self.scripts, self.run.claim)
        self.next_trainer()

    def checkpoint(self, *steps: int, best: int | None = None) -> None:
        for step in steps:
            self.reporter.after_checkpoint(snapshot(step), [Sample("a", "b")], is_best=step == best)

    def load(self, resume: Manifest | None = None) -> None:
        self.reporter.began(start="cold")
        self.reporter.loaded(DATA, resume=resume, kept=self.queue.checkpoints(TENANT, self.job))

    @property
    def record(self) -> JobRecord:
        return self.queue.job(TENANT, self.job)

    def kept(self) -> list[int]:
        """Steps of the checkpoints that the job has; storage has these and no other."""
        found = self.queue.checkpoints(TENANT, self.job)
        assert self.storage.list(layout.checkpoints(self.job)) == sorted(Path(point.path).name for point in found)
        return sorted(point.step for point in found)

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = self.queue.events(TENANT, self.job, after=None, limit=100)[0]
        return [event.data for event in found if event.type == kind]

    def lines(self) -> list[str]:
        """The log without the times."""
        return [row["line"].split(" ", 1)[1] for row in read_history(self.storage, layout.logs(self.job))]
