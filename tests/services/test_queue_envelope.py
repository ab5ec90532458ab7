"""Records that somebody altered in Redis: set aside as failed, type `envelope`, and nobody else is held up."""

import pytest
from queue_samples import LEASE_SECONDS, TENANT, VALIDATION, add_datasets, submit

from rnncore.errors import Conflict, LeaseLost
from services.jobqueue import claims, keys
from services.jobqueue.audit import violations
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobState
from services.jobqueue.scripts import RedisScripts

ALTERATIONS = {
    "another spec": {"spec": '{"dataset": "ds-cccccccccccccccccccccccccccccccc"}'},
    "no JSON": {"spec": "{"},
    "code": {"spec": "__import__('os')"},
    "another tenant's signature": {"signature": "0" * 64},
    "no signature": {"signature": ""},
}


def claim(scripts: RedisScripts) -> str | None:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    return held.job if held else None


@pytest.mark.parametrize("fields", ALTERATIONS.values(), ids=ALTERATIONS)
@pytest.mark.parametrize("first_seen_by", ["claim", "owner"])
def test_altered_record_is_set_aside(
    queue: JobQueue, scripts: RedisScripts, fields: dict[str, str], first_seen_by: str
) -> None:
    altered, whole = submit(queue), submit(queue)
    scripts.redis.hset(keys.job(altered.id), mapping=fields)
    if first_seen_by == "owner":
        queue.job(TENANT, altered.id)
    assert claim(scripts) == whole.id
    record = queue.job(TENANT, altered.id)
    assert (record.state, record.spec) == (JobState.FAILED, None)
    assert record.error is not None
    assert record.error.type == "envelope"
    assert [job.id for job in queue.jobs(TENANT)[0]] == [whole.id, altered.id]
    with pytest.raises(Conflict, match="was altered"):
        record.asked()
    queue.delete_job(TENANT, altered.id)


def test_job_handed_to_another_tenant_is_not_run(queue: JobQueue, scripts: RedisScripts) -> None:
    add_datasets(queue, "tenant-b", VALIDATION)
    stolen = submit(queue)
    scripts.redis.hset(keys.job(stolen.id), "tenant", "tenant-b")
    assert claim(scripts) is None
    assert scripts.redis.hget(keys.job(stolen.id), "state") == "failed"
    scripts.redis.flushall()


def test_record_altered_while_it_runs_ends_its_run(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue)
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    scripts.redis.hset(keys.job(job.id), "spec", "{}")
    assert queue.job(TENANT, job.id).state == JobState.FAILED
    with pytest.raises(LeaseLost):
        ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).write()


@pytest.mark.parametrize("field", ["seq", "priority", "worker_losses", "workers", "tenant", "needs"])
@pytest.mark.parametrize("index", ["ready", "leases", "backoff"])
def test_record_that_scripts_stumble_over_holds_up_no_other(
    queue: JobQueue, scripts: RedisScripts, field: str, index: str
) -> None:
    broken = submit(queue)
    if index != "ready":
        held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
        assert held is not None
        if index == "backoff":
            ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).fail(
                {"type": "io_error", "message": "x", "log_tail": ""}, retriable=True
            )
        scripts.redis.zadd(f"{keys.PREFIX}{index}", {broken.id: 1})  # its time has come
    whole = submit(queue)
    scripts.redis.hset(keys.job(broken.id), field, "no number")
    started = {claim(scripts) for _ in range(4)}
    assert whole.id in started
    assert scripts.redis.zscore(keys.LEASES, whole.id) is not None
    scripts.redis.flushall()


def test_record_that_is_gone_holds_up_no_other(queue: JobQueue, scripts: RedisScripts) -> None:
    gone, whole = submit(queue), submit(queue)
    scripts.redis.delete(keys.job(gone.id))
    assert claim(scripts) == whole.id
    scripts.redis.flushall()


def test_auditor_names_what_is_wrong(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue)
    assert violations(scripts) == []
    for spoil, said in (
        (lambda: scripts.redis.zrem(keys.ready(TENANT), job.id), f"{job.id} is queued and lies in []"),
        (lambda: scripts.redis.hincrby(keys.IN_USE, f"workers:{TENANT}", 1), f"in_use has 1 of workers:{TENANT}"),
        (lambda: scripts.redis.hset(keys.job(job.id), "signature", "x"), "not as the service wrote it"),
        (lambda: scripts.redis.zadd(keys.LEASES, {"job-nobody": 1}), "leases holds job-nobody"),
        (lambda: scripts.redis.zrem(keys.jobs(TENANT), job.id), "the list of jobs of tenant-a"),
        (lambda: scripts.redis.set(f"{keys.PREFIX}claim:x", "y"), "claim:x would stay for ever"),
    ):
        before = set(violations(scripts))
        spoil()
        assert any(said in line for line in set(violations(scripts)) - before), said
    scripts.redis.flushall()
