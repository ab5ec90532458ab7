"""Leases: a worker that falls silent loses its job, and a job that takes every worker with it ends."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from queue_samples import LEASE_SECONDS, TENANT, make_checkpoint, submit

from rnncore.errors import LeaseLost
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, JobError, JobState
from services.jobqueue.scripts import RedisScripts


def claim(scripts: RedisScripts) -> Claim | None:
    return claims.claim(scripts, lease_seconds=LEASE_SECONDS)


def expire(scripts: RedisScripts, held: Claim) -> None:
    """Moves the end of the lease into the past."""
    scripts.redis.zadd(keys.LEASES, {held.job: 1})


def test_silent_worker_loses_its_job_to_the_next(
    queue: JobQueue, scripts: RedisScripts, until: Callable[..., Any]
) -> None:
    job = submit(queue)
    first = claims.claim(scripts, lease_seconds=0.001)
    assert first is not None
    second = until(lambda: claim(scripts))
    assert (second.job, second.epoch, second.attempt) == (job.id, 2, 2)
    assert second.token != first.token
    events, _ = queue.events(TENANT, job.id, after=None, limit=9)
    assert [(event.data["state"], event.data["reason"], event.data["epoch"]) for event in events] == [
        ("queued", "submitted", 0),
        ("running", "claimed", 1),
        ("queued", "worker_lost", 1),
        ("running", "claimed", 2),
    ]


def test_worker_that_beats_in_time_keeps_its_job(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    held = claim(scripts)
    assert held is not None
    expire(scripts, held)
    ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).write()
    assert claim(scripts) is None


def test_beating_thread_renews_the_lease_by_itself(
    queue: JobQueue, scripts: RedisScripts, until: Callable[..., Any]
) -> None:
    submit(queue)
    held = claim(scripts)
    assert held is not None
    with ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS):
        expire(scripts, held)
        until(lambda: scripts.redis.zscore(keys.LEASES, held.job) > 1)


def test_third_loss_without_a_checkpoint_poisons_the_job(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue)
    for _ in range(3):
        held = claim(scripts)
        assert held is not None
        expire(scripts, held)
    assert claim(scripts) is None
    record = queue.job(TENANT, job.id)
    assert (record.state, record.attempt) == (JobState.FAILED, 3)
    assert record.error == JobError(
        type="poison", message="the job lost 3 workers without publishing a checkpoint between"
    )


def test_published_checkpoint_starts_the_count_of_losses_again(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue)
    for _ in range(2):
        held = claim(scripts)
        assert held is not None
        expire(scripts, held)
    third = claim(scripts)
    assert third is not None
    ClaimedJob(scripts, third, lease_seconds=LEASE_SECONDS).write(publish=[make_checkpoint(third, 5)])
    expire(scripts, third)
    for _ in range(2):
        held = claim(scripts)
        assert held is not None
        expire(scripts, held)
    assert queue.job(TENANT, job.id).state == JobState.RUNNING
    assert claim(scripts) is None
    assert queue.job(TENANT, job.id).state == JobState.FAILED


def test_job_that_gets_no_further_than_before_is_poison_though_it_publishes_again(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    job = submit(queue)
    for _ in range(3):
        held = claim(scripts)
        assert held is not None
        ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).write(publish=[make_checkpoint(held, 5)])
        expire(scripts, held)
    assert claim(scripts) is None
    record = queue.job(TENANT, job.id)
    assert (record.error and record.error.type, record.attempt) == ("poison", 3)


def test_healthy_job_survives_any_number_of_faults_of_either_kind(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue, max_attempts=2)
    for step in range(1, 14):
        held = claim(scripts)
        assert held is not None
        trainer = ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)
        trainer.write(publish=[make_checkpoint(held, step)])
        if step % 2:
            trainer.fail({"type": "io_error", "message": "a disk"}, retriable=True)
            scripts.redis.zadd(keys.BACKOFF, {job.id: 1}, xx=True)
        else:
            expire(scripts, held)
    assert claim(scripts) is not None
    assert queue.job(TENANT, job.id).attempt == 14


def test_third_loss_of_a_job_that_was_to_be_cancelled_is_a_cancel(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue)
    for _ in range(3):
        held = claim(scripts)
        assert held is not None
        if held.attempt == 3:
            queue.cancel(TENANT, job.id)
        expire(scripts, held)
    assert claim(scripts) is None
    record = queue.job(TENANT, job.id)
    assert (record.state, record.error) == (JobState.CANCELLED, None)


def test_worker_seen_to_die_is_lost_at_once_and_counted_once(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    held = claim(scripts)
    assert held is not None
    claims.lose(scripts, held)
    claims.lose(scripts, held)
    assert scripts.redis.hget(keys.job(held.job), "worker_losses") == "1"
    assert queue.job(TENANT, held.job).state == JobState.QUEUED


def test_lost_job_that_was_to_be_cancelled_is_cancelled(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    held = claim(scripts)
    assert held is not None
    queue.cancel(TENANT, held.job)
    expire(scripts, held)
    assert claim(scripts) is None
    assert queue.job(TENANT, held.job).state == JobState.CANCELLED


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_worker_that_lost_its_job_is_told_so_when_it_ends(queue: JobQueue, scripts: RedisScripts, end: str) -> None:
    submit(queue)
    held = claim(scripts)
    assert held is not None
    claims.lose(scripts, held)
    late = ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)
    with pytest.raises(LeaseLost):
        late.finish("succeeded") if end == "finish" else late.fail({"type": "x", "message": "y"}, retriable=True)
    assert queue.job(TENANT, held.job).state == JobState.QUEUED


def test_trainer_stops_itself_when_redis_is_silent_for_a_lease(
    queue: JobQueue, scripts: RedisScripts, redis_server: Any, until: Callable[..., Any]
) -> None:
    submit(queue)
    held = claims.claim(scripts, lease_seconds=1)
    assert held is not None
    with ClaimedJob(scripts, held, lease_seconds=1) as job:
        job.check()
        os.kill(redis_server.process.pid, signal.SIGSTOP)
        began_at = time.monotonic()
        try:
            until(lambda: _is_lost(job), 5)
            assert 0.5 < time.monotonic() - began_at < 2
        finally:
            os.kill(redis_server.process.pid, signal.SIGCONT)


def _is_lost(job: ClaimedJob) -> bool:
    try:
        job.check()
    except LeaseLost:
        return True
    return False
