"""How jobs end: cancel, failure, release, success, deletion. An end is for good."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from queue_samples import (
    DATASET,
    LEASE_SECONDS,
    TENANT,
    VALIDATION,
    add_datasets,
    contents,
    make_checkpoint,
    make_dataset,
    submit,
)

from rnncore.errors import Cancelled, Conflict, LeaseLost, NotFound
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, JobError, JobRecord, JobState
from services.jobqueue.scripts import RedisScripts

ERROR = {"type": "io_error", "message": "disk gone", "hint": None, "log_tail": "the last line"}


def claim(scripts: RedisScripts) -> Claim:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    return held


def hold(scripts: RedisScripts) -> ClaimedJob:
    return ClaimedJob(scripts, claim(scripts), lease_seconds=LEASE_SECONDS)


def end_backoff(scripts: RedisScripts, job: JobRecord) -> None:
    """Moves the end of the pause into the past."""
    scripts.redis.zadd(keys.BACKOFF, {job.id: 1}, xx=True)


def test_cancelled_queued_job_ends_at_once_and_is_never_claimed(queue: JobQueue, scripts: RedisScripts) -> None:
    job = queue.cancel(TENANT, submit(queue).id)
    assert (job.state, job.started_at, job.queue) == (JobState.CANCELLED, None, None)
    assert job.finished_at is not None
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is None


def test_cancelled_running_job_learns_it_at_its_next_beat(
    queue: JobQueue, scripts: RedisScripts, until: Callable[..., Any]
) -> None:
    submit(queue)
    with hold(scripts) as job:
        record = queue.cancel(TENANT, job.claim.job)
        assert (record.state, record.cancel_requested) == (JobState.RUNNING, True)
        until(lambda: _is_cancelled(job), 5)
    job.finish("cancelled")
    assert queue.job(TENANT, job.claim.job).state == JobState.CANCELLED


def _is_cancelled(job: ClaimedJob) -> bool:
    try:
        job.check()
    except Cancelled:
        return True
    return False


def test_cancelled_job_in_backoff_ends_at_once(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    hold(scripts).fail(ERROR, retriable=True)
    assert queue.cancel(TENANT, record.id).state == JobState.CANCELLED
    assert scripts.redis.zcard(keys.BACKOFF) == 0


def test_cancelled_job_that_fails_is_cancelled(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    job = hold(scripts)
    queue.cancel(TENANT, job.claim.job)
    job.fail(ERROR, retriable=True)
    record = queue.job(TENANT, job.claim.job)
    assert (record.state, record.error) == (JobState.CANCELLED, None)


def test_released_job_is_queued_again_before_younger_ones_and_no_attempt_is_spent(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    first, _ = submit(queue), submit(queue)
    held = claim(scripts)
    claims.release(scripts, held)
    claims.release(scripts, held)
    assert (queue.job(TENANT, first.id).attempt, queue.job(TENANT, first.id).state) == (0, JobState.QUEUED)
    again = claim(scripts)
    assert (again.job, again.epoch, again.attempt) == (first.id, 2, 1)


def test_released_job_that_was_to_be_cancelled_is_cancelled(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    held = claim(scripts)
    queue.cancel(TENANT, record.id)
    claims.release(scripts, held)
    assert queue.job(TENANT, record.id).state == JobState.CANCELLED


def test_retriable_failure_waits_and_runs_again(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    hold(scripts).fail(ERROR, retriable=True)
    waiting = queue.job(TENANT, record.id)
    assert (waiting.state, waiting.error) == (JobState.QUEUED, None)
    assert waiting.queue is not None
    assert waiting.queue.reason == "backoff"
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is None
    end_backoff(scripts, record)
    again = claim(scripts)
    assert (again.job, again.epoch, again.attempt) == (record.id, 2, 2)


def test_pause_doubles_with_each_failure_up_to_five_minutes_less_up_to_a_half(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    record = submit(queue, max_attempts=20)
    pauses = []
    for _ in range(11):
        hold(scripts).fail(ERROR, retriable=True)
        seconds, microseconds = scripts.redis.time()
        due = scripts.redis.zscore(keys.BACKOFF, record.id)
        pauses.append(due / 1000 - seconds - microseconds / 1e6)
        end_backoff(scripts, record)
    longest = [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert all(most / 2 - 0.5 < pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len({round(pause / most, 3) for pause, most in zip(pauses, longest, strict=True)}) > 5


def test_job_fails_with_its_last_error_once_its_attempts_are_spent(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue, max_attempts=2)
    hold(scripts).fail(ERROR | {"message": "first"}, retriable=True)
    end_backoff(scripts, record)
    hold(scripts).fail(ERROR, retriable=True)
    ended = queue.job(TENANT, record.id)
    assert (ended.state, ended.attempt) == (JobState.FAILED, 2)
    assert ended.error == JobError(type="io_error", message="disk gone", log_tail="the last line")


def test_failure_that_cannot_be_helped_ends_the_job_at_once(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue, max_attempts=20)
    hold(scripts).fail(ERROR, retriable=False)
    assert queue.job(TENANT, record.id).state == JobState.FAILED


def test_lost_workers_spend_no_attempt_of_the_job(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue, max_attempts=2)
    for _ in range(2):
        claims.lose(scripts, claim(scripts))
    hold(scripts).fail(ERROR, retriable=True)
    assert queue.job(TENANT, record.id).state == JobState.QUEUED


def test_success_is_told_with_the_hash_of_the_parameters(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    hold(scripts).finish("succeeded", "5" * 64)
    ended = queue.job(TENANT, record.id)
    assert (ended.state, ended.parameters_sha256) == (JobState.SUCCEEDED, "5" * 64)
    assert scripts.redis.hget(keys.COUNTERS, "finished:lstm:succeeded:finished") == "1"


@pytest.mark.parametrize(
    "act",
    [
        lambda job: job.finish("succeeded", "5" * 64),
        lambda job: job.finish("cancelled"),
        lambda job: job.fail(ERROR, retriable=False),
        lambda job: job.fail(ERROR, retriable=True),
    ],
    ids=["succeeded", "cancelled", "failed", "backoff"],
)
def test_end_sent_twice_is_the_same_end(
    queue: JobQueue, scripts: RedisScripts, act: Callable[[ClaimedJob], None]
) -> None:
    submit(queue)
    job = hold(scripts)
    act(job)
    before = contents(scripts)
    act(job)
    assert contents(scripts) == before


def _succeeded(queue: JobQueue, scripts: RedisScripts) -> ClaimedJob:
    job = hold(scripts)
    job.finish("succeeded", "5" * 64)
    return job


def _failed(queue: JobQueue, scripts: RedisScripts) -> ClaimedJob:
    job = hold(scripts)
    job.fail(ERROR, retriable=False)
    return job


def _cancelled(queue: JobQueue, scripts: RedisScripts) -> ClaimedJob:
    job = hold(scripts)
    queue.cancel(TENANT, job.claim.job)
    job.finish("cancelled")
    return job


def _poisoned(queue: JobQueue, scripts: RedisScripts) -> ClaimedJob:
    for _ in range(3):
        job = hold(scripts)
        claims.lose(scripts, job.claim)
    return job


ACTS: dict[str, Callable[[JobQueue, RedisScripts, ClaimedJob], object]] = {
    "cancel": lambda queue, scripts, job: queue.cancel(TENANT, job.claim.job),
    "claim": lambda queue, scripts, job: claims.claim(scripts, lease_seconds=LEASE_SECONDS),
    "claim again": lambda queue, scripts, job: claims.claim(scripts, lease_seconds=9, token=job.claim.token),
    "release": lambda queue, scripts, job: claims.release(scripts, job.claim),
    "lose": lambda queue, scripts, job: claims.lose(scripts, job.claim),
    "beat": lambda queue, scripts, job: job.write(),
    "write": lambda queue, scripts, job: job.write(
        fields={"state": "running"}, events=[("message", {})], publish=[make_checkpoint(job.claim, 3)]
    ),
    "finish": lambda queue, scripts, job: job.finish("succeeded", "7" * 64),
    "finish cancelled": lambda queue, scripts, job: job.finish("cancelled"),
    "fail": lambda queue, scripts, job: job.fail(ERROR, retriable=False),
    "fail for now": lambda queue, scripts, job: job.fail(ERROR, retriable=True),
}


@pytest.mark.parametrize("end", [_succeeded, _failed, _cancelled, _poisoned])
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_ended_job_is_changed_by_nothing(
    queue: JobQueue,
    scripts: RedisScripts,
    end: Callable[[JobQueue, RedisScripts], ClaimedJob],
    act: Callable[[JobQueue, RedisScripts, ClaimedJob], object],
) -> None:
    submit(queue)
    job = end(queue, scripts)
    before = contents(scripts)
    with suppress(LeaseLost):
        act(queue, scripts, job)
    assert contents(scripts) == before


def test_unfinished_jobs_are_counted_as_uses_of_both_their_data_sets(queue: JobQueue, scripts: RedisScripts) -> None:
    add_datasets(queue, TENANT, VALIDATION)
    submit(queue, validation_dataset=VALIDATION)
    submit(queue)
    assert [queue.datasets.get(TENANT, i)[0].uses for i in (DATASET, VALIDATION)] == [2, 1]
    hold(scripts).finish("succeeded")
    assert [queue.datasets.get(TENANT, i)[0].uses for i in (DATASET, VALIDATION)] == [1, 0]


def test_data_set_in_use_is_not_deleted(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    before = contents(scripts)
    with pytest.raises(Conflict, match=f"{DATASET} is read by 1 unfinished jobs"):
        queue.datasets.delete(TENANT, DATASET)
    assert contents(scripts) == before


def test_deleted_data_set_names_its_blob_and_is_gone(queue: JobQueue) -> None:
    assert queue.datasets.delete(TENANT, DATASET) == f"blob of {DATASET}"
    with pytest.raises(NotFound):
        queue.datasets.get(TENANT, DATASET)
    assert queue.datasets.list(TENANT) == ([], False)


def test_data_set_deleted_and_put_again_is_a_new_one(queue: JobQueue) -> None:
    queue.datasets.delete(TENANT, DATASET)
    again = make_dataset().model_copy(update={"created_at": 5000.0})
    assert queue.datasets.put(again, "second blob") == (again, "second blob")


def test_data_set_of_another_tenant_cannot_be_deleted(queue: JobQueue) -> None:
    with pytest.raises(NotFound):
        queue.datasets.delete("tenant-b", DATASET)
    assert queue.datasets.get(TENANT, DATASET)[0] == make_dataset()


@pytest.mark.parametrize("is_running", [False, True])
def test_unfinished_job_is_not_deleted(queue: JobQueue, scripts: RedisScripts, is_running: bool) -> None:
    record = submit(queue)
    if is_running:
        claim(scripts)
    before = contents(scripts)
    with pytest.raises(Conflict, match="running" if is_running else "queued"):
        queue.delete_job(TENANT, record.id)
    assert contents(scripts) == before


def test_deleted_job_leaves_nothing_of_its_own(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    job = hold(scripts)
    job.write(publish=[make_checkpoint(job.claim, 3)])
    job.finish("succeeded")
    queue.delete_job(TENANT, record.id)
    claim_key = f"{keys.PREFIX}claim:{job.claim.token}"  # ends by itself
    assert [key for key, value in contents(scripts).items() if record.id in key + str(value)] == [claim_key]
    with pytest.raises(NotFound):
        queue.job(TENANT, record.id)
