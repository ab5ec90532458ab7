"""What a trainer tells of its job, by a real queue and storage and no training: checkpoints kept, history, the end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnncore.checkpoint import Snapshot
from rnncore.encoding import Encoding
from rnncore.errors import (
    Cancelled,
    InvalidInput,
    LeaseLost,
    NonFiniteLoss,
    StorageFull,
    Suspended,
    TimedOut,
    Unavailable,
)
from rnncore.fit import environment
from rnncore.loop import Point
from rnncore.manifest import Manifest, Progress
from rnncore.spec import ModelSpec
from rnncore.tasks import Sample
from rnncore.text import TextData
from rnncore.vocabulary import BYTES
from services import layout
from services.jobqueue import claims, keys
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from services.storage import Storage, read_history
from tests.conftest import SECRET
from tests.services.queue_samples import LEASE_SECONDS, TENANT, add_datasets, audit, submit
from workers import reporter as reporting
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


class Desk:
    """A queue with one job, and trainers that report it, one after the other."""

    def __init__(self, scripts: RedisScripts, storage: Storage, settings: Settings, **changes: Any) -> None:
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


@pytest.fixture
def settings(tmp_path: Path, scripts: RedisScripts) -> Settings:
    (tmp_path / "secret").write_text(SECRET)
    return Settings(UNROLL_HOME=tmp_path, REDIS_URL=scripts.url, UNROLL_SECRET_FILE=tmp_path / "secret")


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


@pytest.fixture
def storage(tmp_path: Path) -> Faulty:
    return Faulty(str(tmp_path / "storage"))


@pytest.fixture
def desk(scripts: RedisScripts, storage: Faulty, settings: Settings) -> Any:
    desk = Desk(scripts, storage, settings)
    yield desk
    audit(scripts)


def test_the_newest_checkpoints_and_the_best_are_kept(desk: Desk) -> None:
    desk.checkpoint(1, 2, 3, 4, best=1)
    assert desk.kept() == [1, 3, 4]
    assert (desk.record.best.step, desk.record.best.validation_loss) == (1, 2.0)
    desk.checkpoint(5, best=5)
    assert desk.kept() == [4, 5]
    assert desk.record.best.step == 5


def test_checkpoint_that_an_alias_names_is_kept_until_it_does_no_more(desk: Desk) -> None:
    desk.checkpoint(1)
    desk.queue.aliases.put(TENANT, "favourite", f"{desk.job}:step-1")
    desk.checkpoint(2, 3)
    assert desk.kept() == [1, 2, 3]
    desk.queue.aliases.delete(TENANT, "favourite")
    desk.checkpoint(4)
    assert desk.kept() == [3, 4]


def test_next_trainer_keeps_what_is_published_and_deletes_what_is_not(desk: Desk) -> None:
    desk.checkpoint(1, 2, best=1)
    desk.storage.put(f"{layout.checkpoint(desk.job, 1, 3)}/weights.safetensors", b"never published")
    desk.lose_trainer()
    resume = snapshot(2).manifest.model_copy(update={"parameters_sha256": "7" * 64})
    desk.load(resume)
    assert (desk.kept(), desk.reporter.has_published, desk.reporter.parameters_sha256) == ([1, 2], True, "7" * 64)
    desk.checkpoint(3, 4)
    assert desk.kept() == [1, 3, 4]


def test_trainer_begins_where_the_one_before_stood(desk: Desk) -> None:
    desk.checkpoint(1, 2, best=1)
    desk.lose_trainer()
    inputs = desk.run.begin("warm", data=DATA)
    assert inputs.data is DATA
    assert inputs.resume is not None
    assert inputs.resume.manifest.progress.step == 2
    assert desk.record.placement is not None
    assert (desk.record.placement.start, desk.record.placement.pid) == ("warm", os.getpid())
    desk.checkpoint(3, 4)
    assert desk.kept() == [1, 3, 4]
    assert desk.lines()[2] == "info attempt 2, resumed at step 2: 7 symbols to train on, 3 to validate on"


def test_trial_says_with_whom_it_is_fused(desk: Desk) -> None:
    desk.reporter.began(start="cold")
    desk.reporter.is_fused_with(["job-b", "job-c"])
    placement = desk.record.placement
    assert placement is not None
    assert (placement.start, placement.fused_with) == ("cold", ("job-b", "job-c"))
    assert placement.environment == environment() | {"fused": 3}
    text = "fused with 2 other trials of its sweep"
    assert desk.events("message") == [{"level": "info", "text": text}]
    desk.reporter.close()
    assert desk.lines() == [f"info {text}"]


def test_next_trainer_goes_on_to_delete_the_oldest(desk: Desk) -> None:
    desk.checkpoint(1, 2)
    desk.lose_trainer()
    desk.load()
    desk.checkpoint(3)
    assert desk.kept() == [2, 3]


def test_trainer_that_knows_its_lease_lost_deletes_nothing_of_its_successors(desk: Desk) -> None:
    lost = desk.run
    desk.lose_trainer()
    desk.checkpoint(1)
    with pytest.raises(LeaseLost):
        lost.held.write()
    with pytest.raises(LeaseLost):
        lost.reporter.loaded(DATA, resume=None, kept=())
    assert desk.kept() == [1]


def test_checkpoint_is_not_put_into_storage_by_a_trainer_whose_lease_was_lost_meanwhile(
    desk: Desk, storage: Faulty
) -> None:
    lost = desk.run

    def lose() -> None:
        desk.lose_trainer()
        with pytest.raises(LeaseLost):
            lost.held.write()

    storage.at_draft = lose
    with pytest.raises(LeaseLost):
        lost.reporter.after_checkpoint(snapshot(1), [], is_best=False)
    assert desk.kept() == []


def test_step_that_is_published_again_counts_once(desk: Desk) -> None:
    desk.checkpoint(1, 2)
    desk.lose_trainer()
    desk.load()
    desk.checkpoint(2)
    assert [point.step for point in desk.queue.checkpoints(TENANT, desk.job)] == [2, 1]


def test_resumed_steps_are_counted_by_nobody_twice(desk: Desk) -> None:
    desk.load(snapshot(20).manifest)
    desk.reporter.after_point(point(21, validation_loss=2.0))
    assert desk.scripts.redis.hget(keys.COUNTERS, "steps:lstm") == "1"


def test_checkpoint_tells_what_the_model_writes_and_the_samples_outlive_it(desk: Desk) -> None:
    desk.checkpoint(1)
    (told,) = desk.events("checkpoint")
    assert (told["step"], told["samples"]) == (1, [{"prompt": "a", "text": "b"}])
    desk.reporter.close()
    (row,) = read_history(desk.storage, layout.samples(desk.job))
    assert (row["step"], row["samples"]) == (1, told["samples"])


def test_watchers_hear_of_the_first_step_and_of_validations_at_once_and_history_of_all(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "PROGRESS_SECONDS", 1000.0)
    desk.reporter.after_point(point(1))
    first_step_at = desk.scripts.redis.hget(keys.job(desk.job), "first_step_at")
    for step, loss in ((2, None), (3, 2.0), (4, None)):
        desk.reporter.after_point(point(step, loss))
    assert [row["step"] for row in desk.events("metrics")] == [1, 3]
    assert desk.scripts.redis.hget(keys.COUNTERS, "steps:lstm") == "3", "told along with the validation"
    assert None is not desk.scripts.redis.hget(keys.job(desk.job), "first_step_at") == first_step_at
    desk.reporter.close()
    assert [row["step"] for row in read_history(desk.storage, layout.metrics(desk.job))] == [1, 2, 3, 4]


def test_history_is_readable_while_the_job_runs(desk: Desk) -> None:
    desk.reporter.after_point(point(1))
    assert [row["step"] for row in read_history(desk.storage, layout.metrics(desk.job))] == [1]


def test_warning_is_said_once_and_stands_in_the_record(desk: Desk) -> None:
    for text in ("hot", "hot", "cold"):
        desk.reporter.warn(text)
    desk.reporter.say("info", "nothing")
    assert desk.record.warnings == ["hot", "cold"]
    assert desk.events("message") == [{"level": "warning", "text": text} for text in ("hot", "cold")]
    desk.reporter.close()
    assert desk.lines() == ["warning hot", "warning cold", "info nothing"]


def test_storage_that_is_full_or_away_is_waited_for_and_the_owner_told_once(
    desk: Desk, storage: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_TRY_SECONDS", 1e-3)
    storage.faults = [StorageFull("full"), Unavailable("away"), Unavailable("away")]
    desk.checkpoint(1)
    assert desk.kept() == [1]
    assert desk.events("message") == [{"level": "warning", "text": "waits: full"}]


def test_checkpoint_waits_for_room(desk: Desk, storage: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_TRY_SECONDS", 1e-3)
    storage.num_full = 2
    desk.checkpoint(1)
    assert desk.kept() == [1]
    assert desk.events("message") == [{"level": "warning", "text": "waits: full"}]


def test_job_that_waits_for_storage_hears_of_its_cancel(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_TRY_SECONDS", 1e-3)

    def never_there() -> None:
        desk.queue.cancel(TENANT, desk.job)
        raise Unavailable("away")

    with pytest.raises(Cancelled):
        desk.reporter.patiently(never_there)
    assert desk.run.end(Cancelled("")) == "cancelled"


def test_longer_waits_are_between_later_tries_and_the_queue_is_asked_every_second(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tried, asked = [0.0], [], []
    monkeypatch.setattr(reporting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(reporting.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def there_at_last() -> None:
        tried.append(now[0])
        if len(tried) < 8:
            raise Unavailable("away")

    monkeypatch.setattr(desk.run.held, "write", lambda **_: asked.append(now[0]))
    desk.reporter.patiently(there_at_last)
    assert tried == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0]
    assert sorted({*asked}) == [float(second) for second in range(92)]


def test_draft_of_a_checkpoint_that_fails_is_deleted(desk: Desk, storage: Faulty) -> None:
    storage.faults = [ValueError("broken")]
    with pytest.raises(ValueError, match="broken"):
        desk.checkpoint(1)
    assert list((Path(storage.url) / layout.DRAFTS).iterdir()) == []
    assert desk.kept() == []


def test_history_that_could_not_be_written_is_tried_again_at_the_end(
    desk: Desk, storage: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_time_at_all = -1.0
    monkeypatch.setattr(reporting, "_LAST_TRIES_SECONDS", (0.0, 0.0, 0.0, no_time_at_all))
    desk.reporter.say("info", "one")
    storage.faults = [Unavailable("away"), OSError("away")]
    desk.reporter.close()
    assert desk.lines() == ["info one"]
    monkeypatch.setattr(reporting, "_LAST_TRIES_SECONDS", (0.0, 0.0, 0.0))
    storage.faults = [OSError("away")] * 9
    desk.reporter.say("info", "two")
    desk.reporter.close()
    assert len(storage.faults) == 6, "it is given up"


@pytest.mark.parametrize(
    ("error", "how", "line"),
    [
        (Cancelled("gone"), "cancelled", "info cancelled by its owner"),
        (Suspended("suspended at step 1"), "suspended", "info suspended at step 1, to go on later"),
        (NonFiniteLoss("nan"), "failed", "error NonFiniteLoss: nan"),
        (TimedOut("late"), "failed", "error TimedOut: late"),
        (None, "succeeded", "info checkpoint at step 1"),
    ],
    ids=["cancelled", "suspended", "failed", "late", "succeeded"],
)
def test_end_is_told_to_the_queue_and_stands_last_in_the_log(
    desk: Desk, error: Exception | None, how: str, line: str
) -> None:
    desk.checkpoint(1)
    assert desk.run.end(error) == how
    assert desk.record.state == ("queued" if how == "suspended" else how)
    assert desk.lines()[-1] == line
    assert desk.record.parameters_sha256 == (desk.reporter.parameters_sha256 if how == "succeeded" else None)
    if how == "failed":
        assert desk.record.error is not None
        assert desk.record.error.log_tail.splitlines()[-1].endswith(line)


def test_job_that_failed_by_chance_is_tried_again(desk: Desk) -> None:
    assert desk.run.end(OSError("disk")) == "failed"
    assert desk.record.state == "queued"


def test_job_that_did_not_train_a_step_fails_and_says_why(desk: Desk) -> None:
    assert desk.run.end(None) == "failed"
    assert desk.record.error is not None
    assert desk.record.error.message.startswith("nothing is left to train")


@pytest.mark.parametrize("error", [None, ValueError("odd"), Cancelled("gone"), LeaseLost("gone")])
def test_trainer_that_lost_its_lease_leaves_the_end_to_its_successor(desk: Desk, error: Exception | None) -> None:
    desk.checkpoint(1)
    lost = desk.run
    desk.lose_trainer()
    assert lost.end(error) == "lost"
    assert (desk.record.state, desk.record.epoch) == ("running", 2)
    assert not [line for line in desk.lines() if "LeaseLost" in line], "and writes no more"


def test_fault_while_success_is_told_is_how_the_job_ends(desk: Desk, storage: Faulty) -> None:
    desk.checkpoint(1)
    desk.reporter.say("info", "last words")
    storage.faults = [InvalidInput("broken")]
    assert desk.run.end(None) == "failed"
    assert desk.record.error is not None
    assert desk.record.error.message == "broken"


def test_job_that_took_too_long_hears_it_with_its_last_words(
    scripts: RedisScripts, storage: Faulty, settings: Settings, until: Callable[..., Any]
) -> None:
    desk = Desk(scripts, storage, settings, timeout_seconds=1e-3)

    def is_late() -> bool:
        try:
            desk.run.held.write()
        except TimedOut:
            return True
        return False

    until(is_late)
    assert desk.run.end(TimedOut("late")) == "failed"
    assert desk.lines() == ["error TimedOut: late"]
    audit(scripts)
