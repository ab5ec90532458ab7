"""What a queued job is told: where it stands over all tenants, what it waits for, and when it will start."""

import time

import pytest
from queue_samples import LEASE_SECONDS, TENANT, VALIDATION, add_datasets, submit

from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, JobRecord, QueuePlace, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants

OTHER = "tenant-b"


@pytest.fixture
def other(queue: JobQueue) -> str:
    add_datasets(queue, OTHER, VALIDATION)
    return OTHER


def hold(scripts: RedisScripts) -> ClaimedJob:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    return ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)


def place(queue: JobQueue, job: JobRecord) -> QueuePlace:
    found = queue.job(job.tenant, job.id).queue
    assert found is not None
    return found


def publish(scripts: RedisScripts, cpu: int) -> None:
    claims.publish_capacity(scripts, Capacity(Seats(cpu, 0), 1 << 30))


def took(scripts: RedisScripts, job: ClaimedJob, seconds: float) -> None:
    """The job succeeds as if it had been claimed so long ago."""
    began = int((time.time() - seconds) * 1000)
    scripts.redis.hset(f"{{unroll}}:job:{job.claim.job}", mapping={"counted_at": began, "claimed_at": began})
    job.finish("succeeded", "0" * 64)


def test_positions_are_the_order_of_starts_over_all_tenants(queue: JobQueue, scripts: RedisScripts, other: str) -> None:
    Tenants(scripts).put(other, TenantLimits(weight=2))
    waiting = [submit(queue) for _ in range(4)] + [submit(queue, other, dataset=VALIDATION) for _ in range(8)]
    told = {job.id: place(queue, job).position for job in waiting}
    order = [hold(scripts).claim.job for _ in waiting]
    # Equal turns are broken by name, which a position does not look at.
    assert all(abs(told[job_id] - number) <= 1 for number, job_id in enumerate(order, 1))


def test_position_of_a_list_and_of_one_are_the_same(queue: JobQueue) -> None:
    waiting = [submit(queue) for _ in range(3)]
    listed = {job.id: job.queue for job in queue.jobs(TENANT)[0]}
    assert listed == {job.id: place(queue, job) for job in waiting}
    assert [place(queue, job).position for job in waiting] == [1, 2, 3]


def test_blocked_by_names_who_has_the_workers(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    running = hold(scripts)
    waits = place(queue, submit(queue))
    assert (waits.reason, waits.blocked_by, waits.eta_seconds) == ("no_free_worker", [running.claim.job], None)


def test_eta_is_learned_from_what_jobs_took(queue: JobQueue, scripts: RedisScripts) -> None:
    publish(scripts, 1)
    submit(queue)
    took(scripts, hold(scripts), 100)
    submit(queue)
    running = hold(scripts)
    first, second = submit(queue), submit(queue)
    assert place(queue, first).eta_seconds == pytest.approx(100, abs=2)
    assert place(queue, second).eta_seconds == pytest.approx(200, abs=2)
    running.write(fields={"progress": {"eta_seconds": 7.0}})
    assert place(queue, second).eta_seconds == pytest.approx(107, abs=2), "a running job knows better itself"
    publish(scripts, 2)
    assert place(queue, first).eta_seconds == 0
    assert place(queue, second).eta_seconds == pytest.approx(7, abs=2)


def test_gang_holds_all_of_its_workers_and_waits_for_the_last_that_it_needs(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    publish(scripts, 3)
    for workers, left in (2, 50.0), (1, 20.0):
        submit(queue, resources={"num_workers": workers, "gpus_per_worker": 0})
        held = claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=Seats(workers, 0))
        assert held is not None
        running = ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)
        running.write(fields={"progress": {"eta_seconds": left}})
    first = submit(queue)
    assert place(queue, first).eta_seconds == 20
    queue.cancel(TENANT, first.id)
    assert place(queue, submit(queue, resources={"num_workers": 2, "gpus_per_worker": 0})).eta_seconds == 50


def test_mean_follows_what_jobs_take_now(queue: JobQueue, scripts: RedisScripts) -> None:
    for seconds in [10] * 3 + [1000] * 20:
        submit(queue)
        took(scripts, hold(scripts), seconds)
    submit(queue)
    hold(scripts)
    assert place(queue, submit(queue)).eta_seconds == pytest.approx(1000, rel=0.05)


def test_quota_is_waited_for_by_the_tenants_own_jobs(queue: JobQueue, scripts: RedisScripts, other: str) -> None:
    publish(scripts, 3)
    Tenants(scripts).put(TENANT, TenantLimits(max_running=1))
    submit(queue)
    running = hold(scripts)
    running.write(fields={"progress": {"eta_seconds": 30.0}})
    waits = place(queue, submit(queue))
    assert (waits.reason, waits.blocked_by) == ("quota", [running.claim.job])
    assert waits.eta_seconds == pytest.approx(30, abs=1)


def test_backoff_ends_when_it_is_due(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue)
    hold(scripts).fail({"type": "io_error", "message": "x", "log_tail": ""}, retriable=True)
    waits = place(queue, job)
    assert waits.reason == "backoff"
    assert waits.eta_seconds is not None
    assert 0 < waits.eta_seconds <= 2


def test_job_that_no_worker_could_run_says_so(queue: JobQueue, scripts: RedisScripts) -> None:
    publish(scripts, 2)
    job = submit(queue, resources={"gpus_per_worker": 1})
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is None
    waits = place(queue, job)
    assert (waits.reason, waits.blocked_by, waits.eta_seconds) == ("no_such_worker", [], None)
