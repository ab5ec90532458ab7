"""What a trainer tells of its job, to a real queue and storage: checkpoints kept, progress, warnings."""

import os

import pytest
import torch
from desk import DATA, Desk, point, snapshot

from rnncore.environment import environment
from rnncore.errors import (
    LeaseLost,
)
from services import layout
from services.jobqueue import keys
from services.storage import read_history
from tests.services.queue_samples import TENANT
from workers import reporter as reporting


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


def test_placement_tells_under_what_earlier_attempts_ran(desk: Desk) -> None:
    resume = snapshot(1).manifest.model_copy(update={"environment": environment(fused=3) | {"torch": "1.0"}})
    desk.load(resume)
    assert desk.record.placement is not None
    told = desk.record.placement.environment
    assert told == environment() | {"fused": 3, "torch": f"1.0, then {torch.__version__}"}
    desk.reporter.is_fused_with(["job-b"])
    assert desk.record.placement.environment == told | {"fused": "3, then 2"}


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


def test_checkpoint_is_not_put_into_storage_by_a_trainer_whose_lease_was_lost_meanwhile(desk: Desk) -> None:
    lost = desk.run

    def lose() -> None:
        desk.lose_trainer()
        with pytest.raises(LeaseLost):
            lost.held.write()

    desk.storage.at_draft = lose
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
