"""What ends a job by the clock: its wall-clock limit, the watchdog of progress, the age of what has ended."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from queue_samples import LEASE_SECONDS, TENANT, submit

from rnncore.errors import TimedOut
from services import layout
from services.faults import job_error
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, JobState
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.sweeps import Sweeps
from services.retention import trim
from services.storage import Storage

DAY = 86_400


def hold(scripts: RedisScripts) -> Claim:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    return held


def test_job_past_its_wall_clock_limit_fails(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue, timeout_seconds=60, max_attempts=5)
    job = ClaimedJob(scripts, hold(scripts), lease_seconds=LEASE_SECONDS)
    job.write()
    scripts.redis.hset(keys.job(record.id), "started_at", int((time.time() - 61) * 1000))
    with pytest.raises(TimedOut, match="timeout_seconds of 60") as caught:
        job.write()
    error, retriable = job_error(caught.value)
    job.fail(error, retriable=retriable)
    ended = queue.job(TENANT, record.id)
    assert (ended.state, ended.error and ended.error.type) == (JobState.FAILED, "timeout")


def test_trainer_without_progress_gives_its_job_back_and_ends_itself(
    queue: JobQueue, scripts: RedisScripts, until: Callable[..., Any]
) -> None:
    record = submit(queue)
    ended: list[str] = []
    job = ClaimedJob(
        scripts,
        hold(scripts),
        lease_seconds=LEASE_SECONDS,
        stall_seconds=0.5,
        end_process=lambda: ended.append(queue.job(TENANT, record.id).state),
    )
    with job:
        until(lambda: ended)
    assert ended == ["queued"]
    assert scripts.redis.hget(keys.job(record.id), "reason") == "no_progress"


def test_trainer_that_goes_on_a_lease_after_its_loss_ends_itself(
    queue: JobQueue, scripts: RedisScripts, until: Callable[..., Any]
) -> None:
    submit(queue)
    held = hold(scripts)
    ended: list[bool] = []
    claims.lose(scripts, held)
    with ClaimedJob(scripts, held, lease_seconds=0.6, end_process=lambda: ended.append(True)):
        until(lambda: ended)


def test_trainer_that_leaves_in_time_goes_on_living(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    held = hold(scripts)
    ended: list[bool] = []
    with ClaimedJob(
        scripts, held, lease_seconds=LEASE_SECONDS, stall_seconds=30, end_process=lambda: ended.append(True)
    ):
        claims.lose(scripts, held)
    assert ended == []


def test_ended_jobs_are_deleted_by_age(queue: JobQueue, scripts: RedisScripts, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    old, young, needed, unfinished = (submit(queue) for _ in range(4))
    for record in (old, young, needed):
        ClaimedJob(scripts, hold(scripts), lease_seconds=LEASE_SECONDS).finish("succeeded", "0" * 64)
        storage.put(f"{layout.job_folder(record.id)}/file", b"x")
    follower = submit(queue, retry_of=needed.id)
    for record, days in ((old, 91), (needed, 91), (young, 89)):
        scripts.redis.zadd(keys.ENDED, {record.id: (time.time() - days * DAY) * 1000})
    assert trim(queue, Sweeps(scripts), storage, 90) == 1
    assert {job.id for job in queue.jobs(TENANT)[0]} == {young.id, needed.id, unfinished.id, follower.id}
    assert storage.list(layout.job_folder(old.id)) == []
    assert storage.list(layout.job_folder(needed.id)) == ["file"]
    queue.cancel(TENANT, follower.id)
    assert trim(queue, Sweeps(scripts), storage, 90) == 1, "nobody needs it any more"


def test_clock_that_is_set_back_makes_no_lease_last(queue: JobQueue, scripts: RedisScripts) -> None:
    """As if the clock had been an hour ahead when the lease and the pause began."""
    leased, paused = submit(queue), submit(queue)
    held = hold(scripts)
    ClaimedJob(scripts, hold(scripts), lease_seconds=LEASE_SECONDS).fail(
        {"type": "io_error", "message": "x", "log_tail": ""}, retriable=True
    )
    ahead = (time.time() + 3600) * 1000
    scripts.redis.zadd(keys.LEASES, {leased.id: ahead})
    scripts.redis.zadd(keys.BACKOFF, {paused.id: ahead})
    claims.reap(scripts, lease_seconds=LEASE_SECONDS)
    assert scripts.redis.zscore(keys.LEASES, leased.id) <= (time.time() + LEASE_SECONDS) * 1000
    assert scripts.redis.zscore(keys.BACKOFF, paused.id) <= (time.time() + 300) * 1000
    assert held.job == leased.id
