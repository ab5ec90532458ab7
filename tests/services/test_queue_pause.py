"""Pausing, resuming and making place: what stops a job that did nothing wrong."""

import pytest

from rnncore.errors import Conflict, LeaseLost, NotFound
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, JobRecord, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants
from tests.services.queue_samples import LEASE_SECONDS, TENANT, add_datasets, audit, make_checkpoint, submit

OTHER = "tenant-b"
ERROR = {"type": "io_error", "message": "disk", "log_tail": ""}


@pytest.fixture(autouse=True)
def _audited(queue: JobQueue, scripts: RedisScripts):
    add_datasets(queue)
    yield
    audit(scripts)


def hold(scripts: RedisScripts) -> ClaimedJob:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    return ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)


def state(queue: JobQueue, record: JobRecord) -> str:
    return queue.job(TENANT, record.id).state


def told(queue: JobQueue, record: JobRecord) -> list[tuple[str, str]]:
    found, _ = queue.events(TENANT, record.id, after=None, limit=100)
    return [(event.data["state"], event.data["reason"]) for event in found if event.type == "state"]


def test_paused_queued_job_is_not_claimed_until_it_is_resumed(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    assert queue.pause(TENANT, record.id).state == "paused"
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is None
    assert queue.resume(TENANT, record.id).state == "queued"
    assert hold(scripts).claim.job == record.id
    assert told(queue, record)[1:3] == [("paused", "paused"), ("queued", "resumed")]


def test_paused_job_in_backoff_waits_no_more_once_resumed(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    hold(scripts).fail(ERROR, retriable=True)
    assert queue.pause(TENANT, record.id).state == "paused"
    queue.resume(TENANT, record.id)
    assert hold(scripts).claim.job == record.id


def test_running_job_is_pausing_until_its_trainer_gives_it_back(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    job = hold(scripts)
    assert queue.pause(TENANT, record.id).state == "pausing"
    job.write()
    assert job.is_to_suspend
    job.suspend()
    assert state(queue, record) == "paused"
    job.suspend()  # as where the answer was lost
    queue.resume(TENANT, record.id)
    again = hold(scripts)
    assert (again.claim.attempt, again.claim.epoch) == (2, 2)
    again.write()
    assert not again.is_to_suspend
    with pytest.raises(LeaseLost):
        job.suspend()


def test_pause_that_is_withdrawn_leaves_the_job_running(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    job = hold(scripts)
    queue.pause(TENANT, record.id)
    job.write()
    assert queue.resume(TENANT, record.id).state == "running"
    job.write()
    assert not job.is_to_suspend
    job.finish("succeeded", "0" * 64)
    assert state(queue, record) == "succeeded"


@pytest.mark.parametrize("end", ["lost", "failed", "released"])
def test_pausing_job_is_paused_whatever_stops_it(queue: JobQueue, scripts: RedisScripts, end: str) -> None:
    record = submit(queue)
    job = hold(scripts)
    queue.pause(TENANT, record.id)
    if end == "lost":
        claims.lose(scripts, job.claim)
    elif end == "failed":
        job.fail(ERROR, retriable=True)
    else:
        claims.release(scripts, job.claim)
    assert state(queue, record) == "paused"
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is None


def test_pausing_job_may_end(queue: JobQueue, scripts: RedisScripts) -> None:
    for end, expected in (("finish", "succeeded"), ("fail", "failed"), ("cancel", "cancelled")):
        record = submit(queue)
        job = hold(scripts)
        queue.pause(TENANT, record.id)
        if end == "finish":
            job.finish("succeeded", "0" * 64)
        elif end == "fail":
            job.fail(ERROR, retriable=False)
        else:
            queue.cancel(TENANT, record.id)
            job.suspend()
        assert state(queue, record) == expected


def test_paused_job_can_be_cancelled_but_not_deleted(queue: JobQueue) -> None:
    record = submit(queue)
    queue.pause(TENANT, record.id)
    with pytest.raises(Conflict, match="is paused; cancel it"):
        queue.delete_job(TENANT, record.id)
    assert queue.cancel(TENANT, record.id).state == "cancelled"
    for steer in (queue.pause, queue.resume, queue.cancel):
        assert steer(TENANT, record.id).state == "cancelled"


def test_another_tenants_job_is_unknown(queue: JobQueue) -> None:
    record = submit(queue)
    for steer in (queue.pause, queue.resume):
        with pytest.raises(NotFound):
            steer(OTHER, record.id)
    assert state(queue, record) == "queued"


def test_suspension_counts_neither_as_failure_nor_as_loss(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue, max_attempts=1)
    for _ in range(5):
        job = hold(scripts)
        queue.pause(TENANT, record.id)
        job.suspend()
        queue.resume(TENANT, record.id)
    job = hold(scripts)
    job.write(publish=[make_checkpoint(job.claim, 1)])
    job.finish("succeeded", "0" * 64)
    assert state(queue, record) == "succeeded"


def test_urgent_job_takes_the_place_of_the_least_urgent_of_its_tenant(queue: JobQueue, scripts: RedisScripts) -> None:
    low, middle = submit(queue, priority=2), submit(queue, priority=4)
    jobs = {job.claim.job: job for job in (hold(scripts), hold(scripts))}
    urgent = submit(queue, priority=9)
    assert claims.preempt(scripts) == low.id
    assert claims.preempt(scripts) is None, "one at a time"
    jobs[middle.id].write()
    jobs[low.id].write()
    assert jobs[low.id].is_to_suspend
    assert not jobs[middle.id].is_to_suspend
    jobs[low.id].suspend()
    assert told(queue, low)[-1] == ("queued", "preempted")
    assert hold(scripts).claim.job == urgent.id
    assert claims.preempt(scripts) is None, "who waits now is less urgent than who runs"


def test_equal_priority_and_other_tenants_take_nobodys_place(queue: JobQueue, scripts: RedisScripts) -> None:
    add_datasets(queue, OTHER, "ds-" + "c" * 32)
    submit(queue, priority=5)
    hold(scripts)
    submit(queue, priority=5)
    assert claims.preempt(scripts) is None
    queue.cancel(TENANT, queue.jobs(TENANT, state="queued")[0][0].id)
    submit(queue, tenant=OTHER, priority=9, dataset="ds-" + "c" * 32)
    assert claims.preempt(scripts) is None


def free_for(scripts: RedisScripts, cpu: int, gpu: int) -> Claim | None:
    return claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=Seats(cpu, gpu))


def test_no_job_makes_place_for_one_that_would_not_fit_then_either(queue: JobQueue, scripts: RedisScripts) -> None:
    low = [submit(queue, priority=number, resources={"num_workers": 2}) for number in (1, 3)]
    running = [free_for(scripts, 4, 0) for _ in low]
    assert None not in running
    submit(queue, priority=9, resources={"num_workers": 5})
    assert claims.preempt(scripts) is None, "all of them are four workers"
    assert claims.preempt(scripts, Seats(1, 0)) == low[0].id, "with the free one they are five"


def test_no_job_makes_place_for_one_that_its_quota_never_allows(queue: JobQueue, scripts: RedisScripts) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_running=3))
    low = submit(queue, priority=1)
    assert free_for(scripts, 1, 0) is not None
    urgent = submit(queue, priority=9, resources={"num_workers": 4})
    assert claims.preempt(scripts, Seats(7, 0)) is None
    queue.cancel(TENANT, urgent.id)
    submit(queue, priority=9, resources={"num_workers": 3})
    assert claims.preempt(scripts, Seats(7, 0)) == low.id


def test_job_that_has_the_wrong_seat_keeps_it(queue: JobQueue, scripts: RedisScripts) -> None:
    on_cpu = submit(queue, priority=1, resources={"gpus_per_worker": 0})
    on_gpu = submit(queue, priority=2, resources={"gpus_per_worker": 1})
    assert [free_for(scripts, 1, 1) is not None for _ in range(2)] == [True, True]
    urgent = submit(queue, priority=9, resources={"gpus_per_worker": 1})
    assert claims.preempt(scripts) == on_gpu.id
    queue.cancel(TENANT, urgent.id)
    queue.cancel(TENANT, on_gpu.id)
    submit(queue, priority=9, resources={"gpus_per_worker": 0})
    assert claims.preempt(scripts) is None, "one is on its way out"
    assert queue.job(TENANT, on_cpu.id).state == "running"


def test_two_gpus_are_no_help_to_a_tenant_that_may_have_one(queue: JobQueue, scripts: RedisScripts) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_gpus=2))
    low = submit(queue, priority=1, resources={"gpus_per_worker": 1})
    assert free_for(scripts, 0, 1) is not None
    urgent = submit(queue, priority=9, resources={"gpus_per_worker": 1, "num_workers": 3})
    assert claims.preempt(scripts, Seats(0, 5)) is None
    queue.cancel(TENANT, urgent.id)
    submit(queue, priority=9, resources={"gpus_per_worker": 1, "num_workers": 2})
    assert claims.preempt(scripts, Seats(0, 5)) == low.id


def test_place_is_made_out_of_turn_only_where_a_quota_is_full(queue: JobQueue, scripts: RedisScripts) -> None:
    add_datasets(queue, OTHER, "ds-" + "c" * 32)
    low = submit(queue, priority=1)
    hold(scripts)
    submit(queue, tenant=OTHER, priority=5, dataset="ds-" + "c" * 32)
    submit(queue, priority=9)
    assert claims.preempt(scripts) is None, "the next worker is the other tenant's"
    Tenants(scripts).put(TENANT, TenantLimits(max_running=1))
    assert claims.preempt(scripts) == low.id


def test_youngest_of_equals_makes_place(queue: JobQueue, scripts: RedisScripts) -> None:
    for _ in range(3):
        submit(queue, priority=2)
    running = [hold(scripts).claim.job for _ in range(3)]
    for age, job_id in zip((300, 100, 200), running, strict=True):
        scripts.redis.hincrby(keys.job(job_id), "claimed_at", -age * 1000)
    submit(queue, priority=9)
    assert claims.preempt(scripts) == running[1]


def test_nobody_makes_place_where_there_is_room(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue, priority=2)
    hold(scripts)
    submit(queue, priority=9)
    assert claims.preempt(scripts, Seats(1, 0)) is None
