"""Tells the queue and the storage what a training run does: history, log lines, checkpoints, progress.

An `rnncore.loop.Observer`. Everything that another process can see passes the fence of the claim.
"""

import logging
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import ray
import torch

from rnncore.checkpoint import Snapshot, save_checkpoint
from rnncore.environment import environment, in_turn
from rnncore.errors import StorageFull, Unavailable
from rnncore.loop import Point
from rnncore.manifest import MANIFEST, Manifest
from rnncore.ranks import ALONE, Ranks
from rnncore.tasks import Sample
from rnncore.tasks.examples import ExampleData
from rnncore.text import TextData
from services import layout
from services.faults import fault_of
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.records import Checkpoint, Placement, Progress, Scores
from services.storage import History, Storage
from workers.relay import Relay

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0
# History may take a twentieth of the time, however slow the storage is.
_FLUSH_SHARE = 0.05
PROGRESS_SECONDS = 0.25
_LOG_TAIL_LINES = 20
_TRY_SECONDS = 1.0
_LONGEST_TRY_SECONDS = 30.0
_LAST_TRIES_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0)
_BITS = "bits_per_character"

T = TypeVar("T")


class QueueReporter:
    """Reports one claimed job. Its methods raise Cancelled or LeaseLost where the queue says so."""

    def __init__(self, held: ClaimedJob, storage: Storage, secret: bytes) -> None:
        self._held = held
        self._storage = storage
        self._secret = secret
        claim = held.claim
        self._metrics = History(storage, layout.metrics(claim.job), claim.epoch)
        self._logs = History(storage, layout.logs(claim.job), claim.epoch)
        self._samples = History(storage, layout.samples(claim.job), claim.epoch)
        self._tail: deque[str] = deque(maxlen=_LOG_TAIL_LINES)
        self._placement: Placement | None = None
        self._published: list[Checkpoint] = []
        self._best_step: int | None = None
        self._flush_at = self._told_at = -math.inf
        self._warnings: list[str] = []
        self._has_stepped = False
        self._relay = Relay(claim.spec.model.cell)
        self.parameters_sha256: str | None = None

    def began(self, *, start: Literal["warm", "cold"], ranks: Ranks = ALONE, nodes: Sequence[str] = ()) -> None:
        """The trainer has the job in hand, as the first of `ranks` on `nodes` where there are several."""
        context = ray.get_runtime_context() if ray.is_initialized() else None
        self._placement = Placement(
            start=start,
            node=context.get_node_id() if context else "local",
            pid=os.getpid(),
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            threads=torch.get_num_threads(),
            workers=ranks.size,
            nodes=tuple(nodes),
            environment=environment(ranks),
        )
        self._held.write(fields={"placement": self._placement.model_dump()})

    def is_fused_with(self, jobs: Sequence[str]) -> None:
        """It is trained in one program with these other `jobs`, a fact on which its last bits depend."""
        assert self._placement is not None
        told = in_turn(self._placement.environment, environment(fused=len(jobs) + 1))
        self._placement = self._placement.model_copy(update={"fused_with": tuple(jobs), "environment": told})
        text = f"fused with {len(jobs)} other trials of its sweep"
        event = ("message", {"level": "info", "text": text})
        self._held.write(fields={"placement": self._placement.model_dump()}, events=[event])
        self.say("info", text)

    def loaded(self, data: TextData | ExampleData, *, resume: Manifest | None, kept: Sequence[Checkpoint]) -> None:
        """Data are in memory. `kept` are the checkpoints that earlier epochs published."""
        if resume:
            done = resume.progress
            self._relay.resumed(step=done.step, characters=done.characters, seconds=done.training_seconds)
            self.parameters_sha256 = resume.parameters_sha256
            self._went_on_from(resume)
        self._published = sorted(kept, key=lambda c: c.step)
        self._best_step = next((c.step for c in kept if c.is_best), None)
        self.patiently(self._drop_strays)
        unit = "symbols" if isinstance(data, TextData) else "examples"
        start = f"resumed at step {resume.progress.step}" if resume else "from the beginning"
        self.say(
            "info",
            f"attempt {self._held.claim.attempt}, {start}: {len(data.training)} {unit} to train on, "
            f"{len(data.validation)} to validate on",
        )

    def _went_on_from(self, resume: Manifest) -> None:
        assert self._placement is not None
        told = in_turn(resume.environment, self._placement.environment)
        if told != self._placement.environment:
            self._placement = self._placement.model_copy(update={"environment": told})
            self._held.write(fields={"placement": self._placement.model_dump()})

    def before_step(self) -> None:
        self._held.check()

    @property
    def has_published(self) -> bool:
        """Whether the job has a checkpoint of its own."""
        return bool(self._published)

    def wants_suspension(self) -> bool:
        return self._held.is_to_suspend

    def after_point(self, point: Point) -> None:
        """Keeps the row, and passes it on where watchers would see a difference."""
        row = point._asdict() | {
            "epoch": self._held.claim.epoch,
            "at": time.time(),
            "bits_per_character": point.metrics.get(_BITS),
        }
        self._metrics.add(row)
        self._relay.trained(point)
        now = time.monotonic()
        is_first, self._has_stepped = not self._has_stepped, True
        is_validated = point.validation_loss is not None
        if is_validated or now - self._told_at >= PROGRESS_SECONDS:
            self._told_at = now
            totals = self._relay.take() if is_validated or self._relay.is_due else {}
            self._held.write(fields=self._fields(point, is_first), events=[("metrics", row)], totals=totals)
        if now >= self._flush_at:
            self._flush()

    def after_checkpoint(self, snapshot: Snapshot, samples: list[Sample], *, is_best: bool) -> None:
        """Writes the checkpoint, then lets its name appear; what it supersedes is forgotten first and deleted last."""
        claim, progress = self._held.claim, snapshot.manifest.progress
        path = layout.checkpoint(claim.job, claim.epoch, progress.step)
        began_at = time.monotonic()
        manifest, num_bytes = self._store(snapshot, path)
        self._relay.published(time.monotonic() - began_at)
        self.parameters_sha256 = manifest.parameters_sha256
        if is_best:
            self._best_step = progress.step
        checkpoint = Checkpoint(
            model=f"{claim.job}:step-{progress.step}",
            job=claim.job,
            step=progress.step,
            epoch=claim.epoch,
            path=path,
            created_at=time.time(),
            train_loss=manifest.train_loss,
            validation_loss=manifest.validation_loss,
            bits_per_character=manifest.metrics.get(_BITS),
            metrics=manifest.metrics,
            num_bytes=num_bytes,
            parameters_sha256=manifest.parameters_sha256,
            is_best=is_best,
            is_latest=True,
        )
        self._published = [*(c for c in self._published if c.step != checkpoint.step), checkpoint]
        superseded = self._superseded()
        written = [sample._asdict() for sample in samples]
        told = {"step": progress.step, "epoch": claim.epoch, "bits_per_character": checkpoint.bits_per_character}
        self._samples.add(told | {"samples": written})  # they outlive the checkpoint, and the events' bounded tail
        data = checkpoint.model_dump() | {"samples": written}
        self._held.write(
            events=[("checkpoint", data)],
            publish=[checkpoint],
            drop=[old.step for old in superseded],
            fields={"best": _scores(checkpoint)} if is_best else {},
            totals=self._relay.take(),
        )
        named = self._held.published_steps() if superseded else set()  # by an alias, or they would be gone
        self._published = [old for old in superseded if old.step in named] + self._published
        for old in superseded:
            if old.step not in named:
                self._storage.discard(old.path)
        self.say("info", f"checkpoint at step {progress.step}")
        self._flush()

    def say(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """A line of the job's log, seen live and kept."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {level} {text}"
        self._tail.append(line)
        self._logs.add({"line": line})
        if level != "info":
            self._held.write(events=[("message", {"level": level, "text": text})])

    def warn(self, text: str) -> None:
        """Something its owner should know although the job goes on; said once."""
        if text in self._warnings:
            return
        self._warnings.append(text)
        self._held.write(fields={"warnings": self._warnings})
        self.say("warning", text)

    def log_tail(self) -> str:
        return "\n".join(self._tail)

    def close(self) -> None:
        """Makes history and log readable to the last row, unless the storage stays away."""
        for pause in _LAST_TRIES_SECONDS:
            time.sleep(pause)
            if self._flush():
                return

    def patiently(self, act: Callable[[], T]) -> T:
        """What `act` answers. While it raises Unavailable or StorageFull, it is tried again, and the owner is told.

        That is no fault of the job: it waits as long as it may run at all. Raises as `ClaimedJob.check` does.
        """
        pause, has_said = _TRY_SECONDS, False
        while True:
            try:
                return act()
            except (StorageFull, Unavailable) as error:
                self._relay.storage_failed(fault_of(error).code)
                said = [] if has_said else [("message", {"level": "warning", "text": f"waits: {error}"})]
                has_said = True
                self._held.write(events=said, totals=self._relay.take())
                until = time.monotonic() + pause
            while time.monotonic() < until:
                time.sleep(_TRY_SECONDS)
                self._held.write()  # is alive, and hears of a cancel
            pause = min(2 * pause, _LONGEST_TRY_SECONDS)

    def _store(self, snapshot: Snapshot, path: str) -> tuple[Manifest, int]:
        """Puts the checkpoint, whole, at `path`, where nobody knows of it yet; its manifest, and its size in bytes."""
        self.patiently(self._storage.check_space)
        self._held.check()
        draft = self._storage.draft_folder()
        try:
            manifest = save_checkpoint(draft, snapshot, self._secret)
            num_bytes = sum(file.stat().st_size for file in draft.iterdir())
            self.patiently(lambda: self._publish(draft, path))
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return manifest, num_bytes

    def _publish(self, draft: Path, path: str) -> None:
        self._held.check()
        self._storage.publish_folder(draft, path, last=MANIFEST)

    def _flush(self) -> bool:
        """Whether all rows are stored; those that are not will be with the next."""
        began = time.monotonic()
        try:
            self._metrics.flush()
            self._logs.flush()
            self._samples.flush()
        except (Unavailable, OSError) as error:
            log.warning("history of %s not stored yet: %s", self._held.claim.job, error)
            return False
        finally:
            ended = time.monotonic()
            self._flush_at = ended + max(_FLUSH_SECONDS, (ended - began) / _FLUSH_SHARE)
        return True

    def _fields(self, point: Point, is_first: bool) -> dict[str, object]:
        progress = Progress(
            step=point.step,
            characters=point.characters,
            ratio=point.ratio,
            eta_seconds=point.eta_seconds,
            characters_per_second=point.characters_per_second,
        )
        last = Scores(
            step=point.step,
            train_loss=point.train_loss,
            validation_loss=point.validation_loss,
            bits_per_character=point.metrics.get(_BITS),
            metrics=point.metrics | {"gradient_norm": point.gradient_norm, "learning_rate": point.learning_rate},
        )
        fields: dict[str, object] = {"progress": progress.model_dump(), "last": last.model_dump()}
        if is_first:
            fields["first_step_at"] = str(int(time.time() * 1000))
        return fields

    def _superseded(self) -> list[Checkpoint]:
        """What is neither best nor among the newest that the job asked to keep; no longer counted as published."""
        keep = self._held.claim.spec.train.keep_checkpoints
        old = [c for c in self._published[:-keep] if c.step != self._best_step]
        self._published = [c for c in self._published if c not in old]
        return old

    def _drop_strays(self) -> None:
        """Deletes checkpoints that an earlier epoch wrote and did not come to publish."""
        folder = layout.checkpoints(self._held.claim.job)
        kept = {c.path for c in self._published}
        for name in self._storage.list(folder):
            if f"{folder}/{name}" not in kept:
                self._held.check()
                self._storage.discard(f"{folder}/{name}")


def _scores(checkpoint: Checkpoint) -> dict[str, object]:
    return Scores(
        step=checkpoint.step,
        train_loss=checkpoint.train_loss,
        validation_loss=checkpoint.validation_loss,
        bits_per_character=checkpoint.bits_per_character,
        metrics=checkpoint.metrics,
    ).model_dump()
