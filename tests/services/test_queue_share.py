"""Shares and quotas of tenants: who gets the next worker, and who has enough."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from rnncore.errors import QuotaExceeded
from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, QueuePlace
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants
from tests.services.queue_samples import LEASE_SECONDS, TENANT, add_datasets, submit

SETS = {name: f"ds-{letter * 32}" for name, letter in (("a", "c"), ("b", "d"), ("c", "e"))}


@pytest.fixture
def tenants(queue: JobQueue, scripts: RedisScripts) -> Tenants:
    for name, dataset in SETS.items():
        add_datasets(queue, name, dataset)
    return Tenants(scripts)


def many(queue: JobQueue, name: str, number: int) -> list[str]:
    return [submit(queue, name, dataset=SETS[name]).id for _ in range(number)]


def claim(scripts: RedisScripts) -> Claim | None:
    return claims.claim(scripts, lease_seconds=LEASE_SECONDS)


def run(scripts: RedisScripts, held: Claim) -> str:
    ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).finish("succeeded", "0" * 64)
    return held.tenant


def test_weights_are_shares(queue: JobQueue, scripts: RedisScripts, tenants: Tenants) -> None:
    for name, weight in (("a", 1), ("b", 2), ("c", 1)):
        tenants.put(name, TenantLimits(weight=weight))
        many(queue, name, 220)
    served: Counter[str] = Counter()
    for _ in range(400):
        held = claim(scripts)
        assert held is not None
        served[run(scripts, held)] += 1
    print(f"weights 1:2:1 over 400 jobs: {dict(served)}")
    assert all(abs(served[name] - share) <= 2 for name, share in (("a", 100), ("b", 200), ("c", 100)))


def test_newcomer_is_next_however_many_wait(queue: JobQueue, scripts: RedisScripts, tenants: Tenants) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: many(queue, "a", 1), range(10_000)))
    for _ in range(7):
        held = claim(scripts)
        assert held is not None
        run(scripts, held)
    (newcomer,) = many(queue, "b", 1)
    assert queue.job("b", newcomer).queue == QueuePlace(position=1, reason="no_free_worker")
    held = claim(scripts)
    assert held is not None
    assert held.job == newcomer


def test_tenant_has_no_more_workers_than_its_quota(queue: JobQueue, scripts: RedisScripts, tenants: Tenants) -> None:
    tenants.put("a", TenantLimits(max_running=2))
    waiting = many(queue, "a", 4)
    held = [claim(scripts) for _ in range(3)]
    assert [found is None for found in held] == [False, False, True]
    place = queue.job("a", waiting[2]).queue
    assert place is not None
    assert (place.position, place.reason) == (1, "quota")
    assert (tenants.get("a").running, tenants.get("a").queued) == (2, 2)
    (of_other,) = many(queue, "b", 1)
    found = claim(scripts)
    assert found is not None
    assert found.job == of_other
    assert held[0] is not None
    run(scripts, held[0])
    found = claim(scripts)
    assert found is not None
    assert found.job == waiting[2]


def test_tenant_that_submits_one_at_a_time_gets_no_more_than_its_share(
    queue: JobQueue, scripts: RedisScripts, tenants: Tenants
) -> None:
    many(queue, "a", 20)
    many(queue, "b", 1)
    served: Counter[str] = Counter()
    for _ in range(10):
        held = claim(scripts)
        assert held is not None
        served[run(scripts, held)] += 1
        if held.tenant == "b":
            many(queue, "b", 1)
    assert served == {"a": 5, "b": 5}


@pytest.mark.parametrize("end", ["lose", "release", "cancel", "pause"])
def test_whatever_frees_the_worker_frees_the_quota(
    queue: JobQueue, scripts: RedisScripts, tenants: Tenants, end: str
) -> None:
    tenants.put("a", TenantLimits(max_running=1))
    many(queue, "a", 2)
    held = claim(scripts)
    assert held is not None
    job = ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)
    if end == "cancel":
        queue.cancel("a", held.job)
        job.finish("cancelled")
    elif end == "pause":
        queue.pause("a", held.job)
        job.suspend()
    else:
        getattr(claims, end)(scripts, held)
    assert claim(scripts) is not None
    assert claim(scripts) is None


def test_held_back_tenant_saves_up_no_turns(queue: JobQueue, scripts: RedisScripts, tenants: Tenants) -> None:
    tenants.put("a", TenantLimits(max_running=0))
    many(queue, "a", 20)
    many(queue, "b", 30)
    for _ in range(10):
        held = claim(scripts)
        assert held is not None
        assert run(scripts, held) == "b"
    tenants.put("a", TenantLimits())
    served = Counter()
    for _ in range(10):
        held = claim(scripts)
        assert held is not None
        served[run(scripts, held)] += 1
    assert served["a"] in (5, 6), "its share, and not the turns it missed"


def test_queue_takes_no_more_than_the_quota_and_keeps_what_it_took(
    queue: JobQueue, scripts: RedisScripts, tenants: Tenants
) -> None:
    tenants.put("a", TenantLimits(max_queued=2))
    many(queue, "a", 2)
    with pytest.raises(QuotaExceeded, match="2 jobs ready to start") as caught:
        many(queue, "a", 1)
    assert caught.value.retry_after > 0
    assert len(queue.jobs("a")[0]) == 2
    assert claim(scripts) is not None
    many(queue, "a", 1)
    submit(queue, TENANT)
