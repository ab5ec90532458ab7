"""What the queue counts for the metrics: each thing once, whoever dies and however often an answer is lost."""

import pytest
from queue_samples import LEASE_SECONDS, TENANT, make_checkpoint, submit

from rnncore.errors import LeaseLost
from rnncore.sweep_spec import SweepSpec
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.histograms import observation
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, Claim, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.snapshot import queue_snapshot
from services.jobqueue.sweeps import Sweeps
from services.metrics import queue as declared
from services.metrics.declared import Metric
from services.metrics.registry import HistogramTotals

ERROR = {"type": "non_finite_loss", "message": "loss is nan", "log_tail": ""}


def claim(scripts: RedisScripts) -> Claim:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    return held


def job(scripts: RedisScripts, held: Claim) -> ClaimedJob:
    return ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)


def age(scripts: RedisScripts, job_id: str, field: str, seconds: float) -> None:
    """Lets a time of the job lie further back."""
    scripts.redis.hincrby(keys.job(job_id), field, -int(seconds * 1000))


def counts(scripts: RedisScripts, metric: Metric, label: str = "") -> list[int]:
    """How many values lie within each bucket."""
    found = queue_snapshot(scripts).histograms[metric].get(label)
    return list(found.counts) if found else []


def within(metric: Metric, *bounds: float) -> list[int]:
    """Bucket counts where each of `bounds` is the bound of a bucket that has one value; infinity: beyond all."""
    return [list(bounds).count(bound) for bound in (*metric.buckets, float("inf"))]


def test_wait_is_counted_once_for_each_start_from_when_the_job_was_ready(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    record = submit(queue)
    age(scripts, record.id, "ready_at", 400)
    first = claim(scripts)
    assert counts(scripts, declared.JOB_QUEUE_WAIT) == within(declared.JOB_QUEUE_WAIT, 900.0)
    job(scripts, first).suspend()  # given back: it is ready anew, however long ago it was submitted
    claim(scripts)
    assert counts(scripts, declared.JOB_QUEUE_WAIT) == within(declared.JOB_QUEUE_WAIT, 0.1, 900.0)
    total = queue_snapshot(scripts).histograms[declared.JOB_QUEUE_WAIT][""].sum
    assert 400 <= total < 401


def test_claim_asked_for_twice_waited_once(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    for _ in range(3):
        assert claims.claim(scripts, lease_seconds=LEASE_SECONDS, token="the same") is not None
    assert sum(counts(scripts, declared.JOB_QUEUE_WAIT)) == 1


def test_job_of_before_an_upgrade_is_claimed_though_nobody_knows_since_when_it_waits(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    record = submit(queue)
    scripts.redis.hdel(keys.job(record.id), "ready_at")
    assert queue_snapshot(scripts).oldest_job_age_seconds >= 0
    assert claim(scripts).job == record.id
    assert counts(scripts, declared.JOB_QUEUE_WAIT) == []


def test_clock_that_was_set_back_makes_no_negative_wait(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    age(scripts, record.id, "ready_at", -3600)
    claim(scripts)
    assert queue_snapshot(scripts).histograms[declared.JOB_QUEUE_WAIT] == {
        "": HistogramTotals(tuple(within(declared.JOB_QUEUE_WAIT, 0.1)), 0.0)
    }


def test_oldest_job_is_as_old_as_its_wait_and_not_as_its_submission(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue)
    age(scripts, record.id, "ready_at", 700)
    assert 700 <= queue_snapshot(scripts).oldest_job_age_seconds < 701
    held = claim(scripts)
    age(scripts, record.id, "created_at", 9000)
    job(scripts, held).suspend()
    assert queue_snapshot(scripts).oldest_job_age_seconds < 1


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_first_step_is_timed_from_the_claim_by_kind_of_start(
    queue: JobQueue, scripts: RedisScripts, start: str
) -> None:
    submit(queue)
    held = claim(scripts)
    age(scripts, held.job, "claimed_at", 7)
    working = job(scripts, held)
    working.write(fields={"placement": {"start": start, "node": "n"}})
    working.write(fields={"progress": {"step": 1}, "first_step_at": "1"})
    working.write(fields={"progress": {"step": 2}})
    metric = declared.JOB_TIME_TO_FIRST_STEP
    assert counts(scripts, metric, start) == within(metric, 10.0)
    assert queue_snapshot(scripts).histograms[metric].keys() == {start}


def test_report_sent_twice_counts_its_first_step_once(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    held = claim(scripts)
    for _ in range(2):
        report = (1, "first_step_at", "1", 0, 0, 0, 1, "clipped:gru", 5)
        assert scripts.run("beat", held.job, held.epoch, held.token, 30_000, 1, *report) == "ok"
    assert sum(counts(scripts, declared.JOB_TIME_TO_FIRST_STEP, "warm")) == 1
    assert queue_snapshot(scripts).totals["clipped"] == {("gru",): 5}


def test_ended_job_tells_how_often_it_started(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    claims.lose(scripts, claim(scripts))
    job(scripts, claim(scripts)).finish("succeeded")
    queue.cancel(TENANT, submit(queue).id)  # which never started
    assert counts(scripts, declared.JOB_ATTEMPTS) == within(declared.JOB_ATTEMPTS, 2)


def test_every_failed_attempt_counts_the_repeated_ones_too(queue: JobQueue, scripts: RedisScripts) -> None:
    record = submit(queue, model={"cell": "rnn"})
    job(scripts, claim(scripts)).fail({**ERROR, "type": "io_error"}, retriable=True)
    scripts.redis.zadd(keys.BACKOFF, {record.id: 0})
    last = job(scripts, claim(scripts))
    for _ in range(2):  # as where the answer was lost
        last.fail(ERROR, retriable=False)
    assert queue_snapshot(scripts).totals["failed"] == {("rnn", "io_error"): 1, ("rnn", "non_finite_loss"): 1}


def test_lost_workers_count_by_how_they_were_lost(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    claims.lose(scripts, claim(scripts), "no_progress")
    held = claim(scripts)
    scripts.redis.zadd(keys.LEASES, {held.job: 1})  # its lease has ended
    claims.reap(scripts, lease_seconds=LEASE_SECONDS)
    claims.lose(scripts, held)  # said too late: counted already
    assert queue_snapshot(scripts).totals["lost"] == {("no_progress",): 1, ("worker_lost",): 1}


def test_totals_of_a_killed_trainer_stay_and_its_late_ones_count_for_nothing(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    metric = declared.TRAIN_STEP_DURATION
    submit(queue)
    killed = job(scripts, claim(scripts))
    killed.write(totals={"steps:lstm": 10, **observation(metric, 0.02, label="lstm", times=10)})
    scripts.redis.zadd(keys.LEASES, {killed.claim.job: 1})
    successor = job(scripts, claim(scripts))
    with pytest.raises(LeaseLost):
        killed.write(totals={"steps:lstm": 7, **observation(metric, 0.02, label="lstm", times=7)})
    successor.write(totals={"steps:lstm": 3, **observation(metric, 9.0, label="lstm", times=3)})
    found = queue_snapshot(scripts)
    assert found.totals["steps"] == {("lstm",): 13}
    expected = [10 if bound == 0.025 else 0 for bound in metric.buckets] + [3]
    assert found.histograms[metric] == {"lstm": HistogramTotals(tuple(expected), 27.2)}


def test_value_on_a_bound_lies_within_it_in_lua_as_in_python(queue: JobQueue, scripts: RedisScripts) -> None:
    metric = declared.JOB_ATTEMPTS
    for attempts in (1, 2, 3, 5, 10, 11):
        held = claim(scripts) if submit(queue) else None
        assert held is not None
        scripts.redis.hset(keys.job(held.job), "attempt", attempts)
        job(scripts, held).finish("succeeded")
        (number,) = (name for name in observation(metric, attempts) if not name.endswith("millionths"))
        assert scripts.redis.hget(keys.COUNTERS, number) == "1"
    assert counts(scripts, metric) == [1] * 6


def test_only_what_tenants_are_charged_for_goes_into_their_usage(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    held = job(scripts, claim(scripts))
    held.write(totals={"steps:lstm": 2, "characters:lstm": 30, "clipped:lstm": 1, "storage_faults:unavailable": 1})
    used = {name.partition(":")[2] for name in scripts.redis.hkeys(keys.usage(TENANT))}
    assert used == {"steps", "characters", "worker_ms"}


def test_sweep_counts_where_it_ends(queue: JobQueue, scripts: RedisScripts) -> None:
    sweeps = Sweeps(scripts)
    spec = {"spec": {"dataset": "ds-" + "a" * 32}, "parameters": {"train.seed": {"values": [1, 2]}}}
    sweep = sweeps.create(TENANT, SweepSpec.model_validate(spec))
    assert queue_snapshot(scripts).sweeps_running == 1
    for _ in range(2):
        sweeps.end(sweep.id, "cancelled")
    found = queue_snapshot(scripts)
    assert (found.sweeps_running, found.totals["sweeps"]) == (0, {("cancelled",): 1})


def test_snapshot_tells_seats_workers_bytes_and_redis(queue: JobQueue, scripts: RedisScripts) -> None:
    claims.publish_capacity(scripts, Capacity(Seats(3, 0), 0))
    submit(queue)
    held = claim(scripts)
    job(scripts, held).write(publish=[make_checkpoint(held, 5).model_copy(update={"num_bytes": 11_000})])
    found = queue_snapshot(scripts)
    assert (found.seats, found.workers_at_work, found.stored_bytes - 11_000) == ({"cpu": 3, "gpu": 0}, 1, 7)
    assert found.redis is not None
    assert found.redis.is_append_only_file_ok
    assert 0 < found.redis.memory.used < found.redis.memory.most == 1 << 30
    assert found.redis.clients >= 1
    assert found.redis.commands_total > 10


def test_workers_at_work_are_those_of_all_running_jobs(queue: JobQueue, scripts: RedisScripts) -> None:
    claims.publish_capacity(scripts, Capacity(Seats(5, 0), 0))
    submit(queue, resources={"num_workers": 3})
    submit(queue)
    for free in (Seats(5, 0), Seats(2, 0)):
        assert claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=free) is not None
    assert queue_snapshot(scripts).workers_at_work == 4
