"""A trainer with several trials in hand, in this process: each is as if it had been alone, and ends alone."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from rnncore.corpus import TextScan
from rnncore.spec import JobSpec
from rnncore.sweep_spec import SweepSpec
from services import layout
from services.jobqueue import claims, keys
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, Dataset, JobRecord, JobState, NewTrial
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.sweeps import Sweep, Sweeps
from services.settings import Settings
from services.storage import Storage, merged, read_history
from tests.conftest import SECRET
from tests.services.queue_samples import DATASET, LEASE_SECONDS, TENANT, audit, make_dataset
from workers import fused_trials, inputs
from workers.trainer import Trainer

TEXT = "\n".join(f"{n} times {n} is {n * n}" for n in range(200))
TRAIN = {"batch_size": 3, "tbptt_steps": 5, "max_steps": 30, "validate_every_steps": 10, "checkpoint_every_steps": 20}
MODEL = {"cell": "gru", "hidden_size": 7, "embedding_size": 4}
DIFFERENT: tuple[dict[str, Any], ...] = (
    {"train": {"seed": 1, "learning_rate": 0.02}, "model": {"dropout": 0.25}},
    {"train": {"seed": 2, "learning_rate": 0.01, "max_steps": 20}},
    {"train": {"seed": 3, "gradient_clip_norm": None}, "model": {"dropout": 0.0}},
)
FOR_EVER = {"max_steps": 1_000_000, "validate_every_steps": 1_000_000, "checkpoint_every_steps": 1_000_000}


def stored_text(storage: Storage) -> tuple[Dataset, str]:
    scan, blob = TextScan("characters"), layout.dataset_blob(TENANT, "nonce")
    scan.feed(TEXT.encode())
    storage.put(blob, TEXT.encode())
    return make_dataset().model_copy(update={"num_bytes": len(TEXT), "summary": scan.summary()}), blob


class Room:
    """A queue with a sweep, and a trainer."""

    def __init__(self, scripts: RedisScripts, settings: Settings) -> None:
        self.scripts, self.settings = scripts, settings
        self.queue = JobQueue(scripts)
        self.storage = Storage.of(settings)
        self.trainer = Trainer(settings, threads=1)
        self.queue.datasets.put(*stored_text(self.storage))
        self._sweep: Sweep | None = None
        self._number = 0

    def submit(self, **changes: Any) -> str:
        """The job of one more trial."""
        parts = {"model": {**MODEL, **changes.get("model", {})}, "train": {**TRAIN, **changes.get("train", {})}}
        spec = JobSpec.model_validate({"dataset": DATASET, **changes, **parts})
        if self._sweep is None:
            asked = SweepSpec.model_validate({"spec": spec, "parameters": {"train.seed": {"values": [1]}}})
            self._sweep = Sweeps(self.scripts).create(TENANT, asked)
        self._number += 1
        return self.queue.submit(TENANT, spec, trial=NewTrial(self._sweep.id, self._number, {}, True)).id

    def claim(self, most: int) -> list[Claim]:
        return claims.claim_fused(self.scripts, lease_seconds=LEASE_SECONDS, most=most)

    def records(self, jobs: Sequence[str]) -> list[JobRecord]:
        return [self.queue.job(TENANT, job) for job in jobs]

    def states(self, jobs: Sequence[str]) -> list[str]:
        return [str(record.state) for record in self.records(jobs)]

    def rows(self, job: str) -> list[dict[str, Any]]:
        return merged(list(read_history(self.storage, layout.metrics(job))))


@pytest.fixture
def room(scripts: RedisScripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "secret").write_text(SECRET)
    settings = Settings(
        UNROLL_HOME=tmp_path, REDIS_URL=scripts.url, UNROLL_SECRET_FILE=tmp_path / "secret", UNROLL_RESERVE_BYTES=0
    )
    yield Room(scripts, settings)
    torch.set_flush_denormal(False)
    audit(scripts)


def scores(rows: Sequence[dict[str, Any]]) -> dict[int, Any]:
    """Losses of the first ten steps, and of validations; when others are reported, and of how many, the clock says."""
    first = {row["step"]: [row["train_loss"], row["gradient_norm"]] for row in rows if row["step"] <= 10}
    later = {row["step"]: row["validation_loss"] for row in rows if row["validation_loss"] is not None}
    return {"first": first, "validated": later}


def test_each_trial_ends_as_its_separate_run(room: Room) -> None:
    jobs = [room.submit(**different) for different in DIFFERENT]
    assert room.trainer.run_fused(room.claim(3), "warm") == ["succeeded"] * 3
    separate = [room.submit(**different) for different in DIFFERENT]
    for _ in separate:
        assert room.trainer.run(room.claim(1)[0], "warm") == "succeeded"
    for job, alone in zip(jobs, separate, strict=True):
        ours, theirs = scores(room.rows(job)), scores(room.rows(alone))
        assert ours["first"] == {step: pytest.approx(row, abs=1e-5) for step, row in theirs["first"].items()}
        assert ours["validated"] == pytest.approx(theirs["validated"], abs=1e-5)
        assert (len(ours["first"]), {*ours["validated"]} >= {10, 20}) == (10, True)
        steps = [[point.step for point in room.queue.checkpoints(TENANT, one)] for one in (job, alone)]
        assert steps[0] == steps[1]
    record, alone_record = room.queue.job(TENANT, jobs[0]), room.queue.job(TENANT, separate[0])
    assert record.placement is not None
    assert alone_record.placement is not None
    assert record.placement.fused_with == (jobs[1], jobs[2])
    assert (record.placement.threads, record.placement.environment["fused"]) == (1, 3)
    assert (alone_record.placement.fused_with, alone_record.placement.environment.get("fused")) == ((), None)
    assert [record.progress.step for record in room.records(jobs)] == [30, 20, 30]


def test_small_job_trains_on_one_thread_and_a_larger_one_on_all(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("workers.trainer.fit", lambda *_, **__: seen.append(torch.get_num_threads()))
    trainer = Trainer(room.settings, threads=3)
    for hidden_size in (7, 512, 7):
        room.submit(model={"hidden_size": hidden_size})
        trainer.run(room.claim(1)[0], "warm")
    torch.set_num_threads(1)
    assert seen == [1, 3, 1]


def test_trial_that_fails_ends_alone_and_says_why(room: Room) -> None:
    jobs = [room.submit(), room.submit(timeout_seconds=1e-3), room.submit()]
    assert room.trainer.run_fused(room.claim(3), "warm") == ["succeeded", "failed", "succeeded"]
    failed = room.queue.job(TENANT, jobs[1])
    assert failed.error is not None
    assert "took longer than its timeout_seconds" in failed.error.message
    assert "error TimedOut" in failed.error.log_tail


def test_owner_and_queue_take_trials_out_one_at_a_time(room: Room, until: Callable[..., Any]) -> None:
    jobs = [room.submit(train={**FOR_EVER, "seed": seed}) for seed in range(4)]
    claimed = room.claim(4)

    def goes_on(*left: str) -> None:
        """All that are left come further than they were."""
        steps = [record.progress.step for record in room.records(left)]
        until(lambda: all(now.progress.step > step for now, step in zip(room.records(left), steps, strict=True)), 60)

    with ThreadPoolExecutor(1) as pool:
        ends = pool.submit(room.trainer.run_fused, claimed, "warm")
        goes_on(*jobs)
        room.queue.pause(TENANT, jobs[1])
        until(lambda: room.states(jobs[1:2]) == ["paused"], 60)
        room.scripts.redis.zadd(keys.LEASES, {jobs[2]: 1})
        claims.reap(room.scripts, lease_seconds=LEASE_SECONDS)
        goes_on(jobs[0], jobs[3])
        room.queue.cancel(TENANT, jobs[0])
        until(lambda: room.states(jobs[:1]) == ["cancelled"], 60)
        goes_on(jobs[3])
        assert not ends.done()
        room.queue.cancel(TENANT, jobs[3])
        assert ends.result(60) == ["cancelled", "suspended", "lost", "cancelled"]
    assert room.states(jobs) == ["cancelled", "paused", "queued", "cancelled"]
    paused = room.queue.checkpoints(TENANT, jobs[1])
    assert [point.step for point in paused] == [room.rows(jobs[1])[-1]["step"]]


def test_trial_that_goes_on_from_another_step_is_given_back_unused(room: Room, until: Callable[..., Any]) -> None:
    ahead = room.submit(train=FOR_EVER)
    (first,) = room.claim(1)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(room.trainer.run, first, "warm")
        until(lambda: room.queue.job(TENANT, ahead).progress.step > 3, 60)
        room.queue.pause(TENANT, ahead)
        assert end.result(60) == "suspended"
    room.queue.resume(TENANT, ahead)
    fresh = room.submit()
    (of_ahead,), (of_fresh,) = room.claim(1), room.claim(1)
    assert (of_ahead.job, of_fresh.job) == (ahead, fresh)
    assert room.trainer.run_fused([of_fresh, of_ahead], "warm") == ["succeeded", "released"]
    record = room.queue.job(TENANT, ahead)
    assert (record.state, record.attempt) == (JobState.QUEUED, 1)
    alone = room.queue.job(TENANT, fresh).placement
    assert alone is not None
    assert (alone.fused_with, alone.environment.get("fused")) == ((), None)


def test_trials_of_a_program_that_fails_as_a_whole_are_trained_alone_next_time(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out_of_memory(*_: object) -> None:
        raise MemoryError("all of it")

    monkeypatch.setattr(fused_trials, "fit_fused", run_out_of_memory)
    jobs = [room.submit(train={"seed": seed}) for seed in range(3)]
    assert room.trainer.run_fused(room.claim(3), "warm") == ["broken"] * 3
    assert room.states(jobs) == ["queued"] * 3
    assert [held.job for held in room.claim(3)] == jobs[:1]


def test_trials_have_their_data_in_memory_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(*arguments: Any, **options: Any) -> Any:
        loaded.append(unspied(*arguments, **options))
        return loaded[-1]

    unspied = inputs.load
    monkeypatch.setattr(inputs, "load", load)
    for seed in range(3):
        room.submit(train={"seed": seed, "max_steps": 1})
    assert room.trainer.run_fused(room.claim(3), "warm") == ["succeeded"] * 3
    assert len(loaded) == 1


def test_leases_end_with_a_trainer_that_is_stopped_from_outside(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fused_trials, "fit_fused", stop)
    for seed in range(2):
        room.submit(train={"seed": seed})
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        room.trainer.run_fused(room.claim(2), "warm")
    assert threading.active_count() == before
