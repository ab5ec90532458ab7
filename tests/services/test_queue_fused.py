"""Trials that one worker trains together: who is handed out with whom, what they cost, and how each ends."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from queue_samples import DATASET, LEASE_SECONDS, TENANT, VALIDATION, add_datasets, contents, make_checkpoint, make_spec

from rnncore.fusable import MOST_FUSED
from rnncore.sweep_spec import SweepSpec
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob, SignOfLife
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, Claim, JobState, NewTrial, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.sweeps import Sweep, Sweeps
from services.jobqueue.tenants import TenantLimits, Tenants

SMALL = {"model": {"hidden_size": 7}, "train": {"batch_size": 60}}
MORE_THAN_ENOUGH = 16
Submit = Callable[..., list[str]]


def make_sweep(scripts: RedisScripts, tenant: str = TENANT, dataset: str = DATASET) -> Sweep:
    asked = {"spec": {"dataset": dataset}, "parameters": {"train.seed": {"values": [1]}}, "search": {"method": "grid"}}
    return Sweeps(scripts).create(tenant, SweepSpec.model_validate(asked))


@pytest.fixture
def sweep(queue: JobQueue, scripts: RedisScripts) -> Sweep:
    return make_sweep(scripts)


@pytest.fixture
def submit(queue: JobQueue, sweep: Sweep) -> Submit:
    """Submits so many trials, which differ in their seed and in nothing else but what is named; answers their jobs."""
    numbers = iter(range(1000))

    def submit(count: int, *, of: Sweep = sweep, may_fuse: bool = True, **changes: Any) -> list[str]:
        found = []
        for _ in range(count):
            number = next(numbers)
            asked = {**SMALL, **changes}
            asked["train"] = {"batch_size": 60, **asked["train"], "seed": number}
            spec = make_spec(**{"dataset": of.spec.spec.dataset if of.spec else DATASET, **asked})
            trial = NewTrial(of.id, number, {"train.seed": number}, may_fuse)
            found.append(queue.submit(of.tenant, spec, trial=trial).id)
        return found

    return submit


def claim(
    scripts: RedisScripts, cpu: int = 1, *, most: int = MORE_THAN_ENOUGH, token: str | None = None, gpu: int = 0
) -> list[Claim]:
    return claims.claim_fused(scripts, lease_seconds=LEASE_SECONDS, token=token, free=Seats(cpu, gpu), most=most)


def ids(claimed: list[Claim]) -> list[str]:
    return [held.job for held in claimed]


def job_of(scripts: RedisScripts, held: Claim) -> ClaimedJob:
    return ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)


def finish(scripts: RedisScripts, held: Claim) -> None:
    job_of(scripts, held).finish("succeeded", "0" * 64)


def workers(scripts: RedisScripts, tenant: str = TENANT) -> int:
    return Tenants(scripts).get(tenant).running


def test_trials_are_shared_out_among_the_free_workers(scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(8)
    first, second = claim(scripts, 2), claim(scripts, 1)
    assert (ids(first), ids(second), claim(scripts)) == (jobs[:4], jobs[4:], [])
    assert workers(scripts) == 2


def test_no_more_trials_are_handed_out_together_than_asked_for(scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(5)
    assert [ids(claim(scripts, most=most)) for most in (2, 1, 9)] == [jobs[:2], [jobs[2]], jobs[3:]]


def test_no_more_trials_are_handed_out_together_than_are_worth_it(scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(MOST_FUSED + 1)
    assert [ids(claim(scripts, most=MORE_THAN_ENOUGH)) for _ in range(2)] == [jobs[:MOST_FUSED], jobs[MOST_FUSED:]]


def test_each_trial_has_an_epoch_and_a_token_of_its_own(queue: JobQueue, scripts: RedisScripts, submit: Submit) -> None:
    (again,) = submit(1)
    claims.release(scripts, claim(scripts)[0])
    other = submit(1)
    first, second = claim(scripts, token="token-1")
    assert (first.job, second.job) == (again, *other)
    assert ((first.epoch, first.token), (second.epoch, second.token)) == ((2, "token-1"), (1, "token-1:2"))
    stranger = job_of(scripts, second._replace(token="token-1"))
    with pytest.raises(claims.LeaseLost):
        stranger.finish("succeeded")
    assert [queue.job(TENANT, job).state for job in (again, *other)] == [JobState.RUNNING, JobState.RUNNING]


def test_claim_sent_twice_gets_the_same_trials_and_changes_nothing(scripts: RedisScripts, submit: Submit) -> None:
    submit(3)
    first = claim(scripts, token="token-1")
    before = contents(scripts)
    assert claim(scripts, token="token-1") == first
    assert contents(scripts) == before
    claims.lose(scripts, first[0])
    assert claim(scripts, token="token-1") == first[1:]
    assert ids(claim(scripts, token="token-2")) == [first[0].job]
    assert claim(scripts, token="token-1") == first[1:], "it is another's by now"


def test_only_trials_that_are_alike_are_handed_out_together(
    queue: JobQueue, scripts: RedisScripts, submit: Submit, sweep: Sweep
) -> None:
    (first,) = submit(1, train={"learning_rate": 0.5})
    add_datasets(queue, TENANT, VALIDATION)
    different: list[dict[str, Any]] = [
        {"model": {"hidden_size": 8}},
        {"train": {"batch_size": 30}},
        {"dataset": VALIDATION},
        {"priority": 4},
        {"resources": {"num_workers": 2}},
        {"may_fuse": False},
        {"of": make_sweep(scripts)},
        {"train": {"precision": "bf16-mixed"}},
    ]
    others = [submit(1, **changes)[0] for changes in different]
    plain = queue.submit(TENANT, make_spec(**SMALL)).id
    (last,) = submit(1, model={"hidden_size": 7, "dropout": 0.4}, train={"max_steps": 9, "weight_decay": 0.2})
    assert ids(claim(scripts)) == [first, last]
    found = [claim(scripts, 2) for _ in range(9)]
    assert [len(together) for together in found] == [1] * 9
    assert {together[0].job for together in found} == {*others, plain}


@pytest.mark.parametrize("changes", [{"resources": {"gpus_per_worker": 0.25}}, {"model": {"hidden_size": 256}}])
def test_what_gains_nothing_is_handed_out_alone(scripts: RedisScripts, submit: Submit, changes: dict[str, Any]) -> None:
    submit(2, **changes)
    assert len(claim(scripts, 1, gpu=2)) == 1


def test_trial_on_a_gpu_is_handed_out_alone(scripts: RedisScripts, submit: Submit) -> None:
    submit(2)
    assert [held.seat for held in claim(scripts, 0, gpu=1)] == ["gpu"]


def test_trials_at_different_steps_are_not_handed_out_together(scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(3)
    for held in claim(scripts, most=3)[:2]:
        job_of(scripts, held).write(publish=[make_checkpoint(held, 10)])
        job_of(scripts, held).suspend()
    late = submit(1)
    assert ids(claim(scripts)) == jobs[:2]
    assert ids(claim(scripts)) == late


def test_trial_whose_worker_was_lost_is_handed_out_alone_until_it_gets_further(
    scripts: RedisScripts, submit: Submit
) -> None:
    jobs = submit(3)
    for held in claim(scripts):
        claims.lose(scripts, held)
    late = submit(1)
    alone = [claim(scripts) for _ in range(3)]
    assert [ids(found) for found in alone] == [[job] for job in jobs]
    for (held,) in alone:
        job_of(scripts, held).write(publish=[make_checkpoint(held, 10)])
        job_of(scripts, held).suspend()
    assert [ids(claim(scripts)), ids(claim(scripts))] == [jobs, late]


def test_trial_whose_worker_was_lost_joins_no_other(scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(3)
    (first,) = claim(scripts, most=1)
    for held in claim(scripts):
        claims.lose(scripts, held)
    claims.release(scripts, first)
    assert [ids(claim(scripts)) for _ in range(3)] == [[job] for job in jobs]


def test_each_trial_costs_its_tenant_a_turn(queue: JobQueue, scripts: RedisScripts, submit: Submit) -> None:
    add_datasets(queue, "tenant-b", VALIDATION)
    submit(12)
    for _ in range(12):
        queue.submit("tenant-b", make_spec(dataset=VALIDATION))
    order = []
    while claimed := claim(scripts, most=4):
        order += [held.tenant[-1] for held in claimed]
        for held in claimed:
            finish(scripts, held)
    assert "".join(order) in ("aaaabbbbaaaabbbbaaaabbbb", "baaaabbbbaaaabbbbaaaabbb")


def test_group_is_one_worker_of_the_quota_until_its_last_trial_has_left(scripts: RedisScripts, submit: Submit) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_running=1))
    jobs = submit(4)
    first, second, third = claim(scripts, 2, most=3)
    assert (workers(scripts), claim(scripts)) == (1, [])
    finish(scripts, first)
    claims.release(scripts, second)
    assert (workers(scripts), claim(scripts)) == (1, [])
    finish(scripts, third)
    assert workers(scripts) == 0
    assert ids(claim(scripts)) == [jobs[1], jobs[3]]


def test_quota_of_workers_limits_how_many_the_trials_are_shared_out_among(
    scripts: RedisScripts, submit: Submit
) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_running=1))
    submit(4)
    assert len(claim(scripts, 4)) == 4


def test_workers_that_a_tenant_has_count_against_those_it_may_have(scripts: RedisScripts, submit: Submit) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_running=2))
    submit(6)
    assert [len(claim(scripts, free)) for free in (4, 3)] == [3, 3]


def test_part_of_a_millisecond_that_is_shared_is_counted_the_next_time(scripts: RedisScripts, submit: Submit) -> None:
    (job, *_) = submit(3)
    held = job_of(scripts, claim(scripts)[0])
    counted = []
    for step in range(40):
        held.write(fields={"progress": {"step": step}})
        counted.append(int(scripts.redis.hget(keys.job(job), "counted_at")))
    assert counted[0] < counted[-1]
    assert {(then - counted[0]) % 3 for then in counted} == {0}


def test_worker_time_is_shared_out_among_those_at_work(scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(3)
    held = claim(scripts)

    def passes(milliseconds: int) -> None:
        for job in jobs:
            scripts.redis.hincrby(keys.job(job), "counted_at", -milliseconds)

    passes(3000)
    job_of(scripts, held[0]).write(fields={"last": "{}"})
    finish(scripts, held[1])
    passes(4000)
    for one in (held[2], held[0]):
        finish(scripts, one)
    spent = [int(scripts.redis.hget(keys.job(job), "worker_ms")) // 1000 for job in jobs]
    assert spent == [1 + 2, 1, 1 + 2]
    used = scripts.redis.hgetall(keys.usage(TENANT))
    assert [int(value) // 1000 for name, value in used.items() if name.endswith("worker_ms")] == [7]


@pytest.mark.parametrize("end", ["cancel", "pause", "fail", "lose", "lease"])
def test_end_of_one_trial_leaves_the_others_at_work(
    queue: JobQueue, scripts: RedisScripts, submit: Submit, end: str
) -> None:
    jobs = submit(3)
    first, *others = claim(scripts)
    job = job_of(scripts, first)
    if end == "cancel":
        queue.cancel(TENANT, first.job)
        job.finish("cancelled")
    elif end == "pause":
        queue.pause(TENANT, first.job)
        job.suspend()
    elif end == "fail":
        job.fail({"type": "non_finite_loss", "message": "nan"}, retriable=False)
    elif end == "lose":
        claims.lose(scripts, first)
    else:
        scripts.redis.zadd(keys.LEASES, {first.job: 1})
        claims.reap(scripts, lease_seconds=LEASE_SECONDS)
    wanted = {"cancel": JobState.CANCELLED, "pause": JobState.PAUSED, "fail": JobState.FAILED}
    states = [queue.job(TENANT, one).state for one in jobs]
    assert states == [wanted.get(end, JobState.QUEUED), JobState.RUNNING, JobState.RUNNING]
    assert workers(scripts) == 1
    for held in others:
        job_of(scripts, held).write()
        finish(scripts, held)
    assert workers(scripts) == 0


def test_more_urgent_job_gets_the_worker_when_all_trials_have_left_it(
    queue: JobQueue, scripts: RedisScripts, submit: Submit
) -> None:
    claims.publish_capacity(scripts, Capacity(Seats(1, 0), 0))
    jobs = submit(2)
    claimed = claim(scripts)
    urgent = queue.submit(TENANT, make_spec(priority=9)).id
    assert claims.preempt(scripts) in jobs
    held = [job_of(scripts, one) for one in claimed]
    for job in held:
        job.write()
    assert [job.is_to_suspend for job in held] == [True, True]
    assert claims.preempt(scripts) is None
    held[0].suspend()
    assert workers(scripts) == 1
    held[1].suspend()
    assert workers(scripts) == 0
    assert ids(claim(scripts)) == [urgent]
    assert ids(claim(scripts)) == jobs


def test_trials_wait_for_those_that_are_being_submitted(scripts: RedisScripts, submit: Submit, sweep: Sweep) -> None:
    with Sweeps(scripts).filling(sweep):
        jobs = submit(2)
        assert claim(scripts) == []
        (other,) = submit(1, of=make_sweep(scripts))
        assert ids(claim(scripts)) == [other]
        jobs += submit(1)
        assert 0 < scripts.redis.pttl(keys.filling(sweep.id)) <= 2000
    assert ids(claim(scripts)) == jobs


def test_worker_that_trains_one_trial_at_a_time_waits_for_no_others(
    scripts: RedisScripts, submit: Submit, sweep: Sweep
) -> None:
    with Sweeps(scripts).filling(sweep):
        jobs = submit(2)
        assert ids(claim(scripts, most=1)) == jobs[:1]


def test_altered_trial_is_set_aside_and_the_others_are_handed_out(
    queue: JobQueue, scripts: RedisScripts, submit: Submit
) -> None:
    jobs = submit(3)
    scripts.redis.hset(keys.job(jobs[0]), "signature", "0" * 64)
    assert ids(claim(scripts)) == jobs[1:]
    assert queue.job(TENANT, jobs[0]).state == JobState.FAILED
    assert workers(scripts) == 1


def test_no_trial_is_handed_out_twice_by_dispatchers_that_race(scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(60)

    def dispatch(_: int) -> list[str]:
        own = []
        while claimed := claim(scripts, 3, most=4):
            own += ids(claimed)
            for held in claimed:
                finish(scripts, held)
        return own

    with ThreadPoolExecutor(3) as pool:
        handed_out = Counter(job for own in pool.map(dispatch, range(3)) for job in own)
    assert handed_out == Counter(jobs)
    assert workers(scripts) == 0


def test_group_asks_the_autoscaler_for_one_worker(scripts: RedisScripts, submit: Submit) -> None:
    submit(4)
    claim(scripts)
    assert claims.demand(scripts, 10) == Seats(1, 0)


def test_worker_of_a_group_is_free_when_its_last_trial_is_expected_to_end(
    queue: JobQueue, scripts: RedisScripts, submit: Submit
) -> None:
    claims.publish_capacity(scripts, Capacity(Seats(1, 0), 0))
    submit(2)
    for held, seconds in zip(claim(scripts), (30.0, 70.0), strict=True):
        job_of(scripts, held).write(fields={"progress": {"step": 1, "eta_seconds": seconds}})
    place = queue.job(TENANT, queue.submit(TENANT, make_spec()).id).queue
    assert place is not None
    assert place.eta_seconds == 70.0


def test_trials_out_of_a_backup_have_no_worker(queue: JobQueue, scripts: RedisScripts, submit: Submit) -> None:
    jobs = submit(3)
    claim(scripts)
    for job in jobs:
        scripts.redis.hincrby(keys.job(job), "counted_at", -3_600_000)
    for job in jobs:
        scripts.run("restored", job, 1000)
    assert workers(scripts) == 0
    assert sum(int(scripts.redis.hget(keys.job(job), "worker_ms")) for job in jobs) < 1000
    assert ids(claim(scripts)) == jobs


def test_trial_that_tells_nothing_is_alive_while_another_one_of_its_process_tells_something(
    scripts: RedisScripts, submit: Submit, until: Callable[..., Any]
) -> None:
    submit(2)
    ended: list[str] = []
    sign = SignOfLife()
    told, silent = (
        ClaimedJob(
            scripts,
            held,
            lease_seconds=LEASE_SECONDS,
            stall_seconds=1.0,
            end_process=lambda: ended.append("stuck"),
            sign_of_life=sign,
        )
        for held in claim(scripts)
    )
    with silent:
        began = sign.at
        until(lambda: told.write() or sign.at > began + 1.8)
        assert ended == []
        until(lambda: ended == ["stuck"])
