"""Gangs and shares: all the workers of a job at once or none, fewer where it may have fewer, parts of a GPU."""

from collections.abc import Callable

import pytest
from queue_samples import LEASE_SECONDS, TENANT, VALIDATION, add_datasets, make_spec, submit

from rnncore.spec import JobSpec
from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, Claim, QueuePlace, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants

OTHER = "tenant-b"
Claims = Callable[..., Claim | None]


@pytest.fixture
def claim(queue: JobQueue, scripts: RedisScripts) -> Claims:
    """`claim(cpu, gpu, shares)`: asks for a job with so many free seats, of six and two."""
    add_datasets(queue, OTHER, VALIDATION)
    claims.publish_capacity(scripts, Capacity(Seats(6, 2), 1 << 30))
    return lambda *free: claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=Seats(*free))


def got(held: Claim | None) -> tuple[str, str, int] | None:
    return (held.job, held.seat, held.workers) if held else None


def place(queue: JobQueue, job: str) -> QueuePlace:
    found = queue.job(TENANT, job).queue
    assert found is not None
    return found


def test_gang_starts_with_all_its_workers_or_not_at_all(queue: JobQueue, scripts: RedisScripts, claim: Claims) -> None:
    gang = submit(queue, resources={"num_workers": 3, "gpus_per_worker": 0})
    assert claim(2, 0) is None
    assert Tenants(scripts).get(TENANT).running == 0, "no part of it was taken"
    held = claim(3, 0)
    assert got(held) == (gang.id, "cpu", 3)
    assert Tenants(scripts).get(TENANT).running == 3
    assert held is not None
    ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).finish("succeeded", "0" * 64)
    assert Tenants(scripts).get(TENANT).running == 0


@pytest.mark.parametrize(("free", "workers"), [(7, 6), (6, 6), (5, 5), (4, 4), (3, 3), (2, 2)])
def test_elastic_gang_takes_as_many_workers_as_are_free(
    queue: JobQueue, claim: Claims, free: int, workers: int
) -> None:
    gang = submit(queue, resources={"num_workers": 6, "min_workers": 2, "gpus_per_worker": 0})
    assert claim(1, 0) is None
    assert got(claim(free, 0)) == (gang.id, "cpu", workers)


def test_elastic_gang_takes_a_number_that_its_streams_can_be_shared_by(queue: JobQueue, claim: Claims) -> None:
    gang = submit(queue, train={"batch_size": 12}, resources={"num_workers": 6, "min_workers": 2})
    assert got(claim(5, 0)) == (gang.id, "cpu", 4)


def test_gang_that_lost_its_workers_may_go_on_with_fewer_and_then_more(
    queue: JobQueue, scripts: RedisScripts, claim: Claims
) -> None:
    gang = submit(queue, resources={"num_workers": 4, "min_workers": 2})
    numbers = []
    for free in (4, 2, 3):
        held = claim(free, 0)
        assert held is not None
        numbers.append(held.workers)
        assert Tenants(scripts).get(TENANT).running == held.workers
        ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).suspend()
    assert numbers == [4, 2, 3]
    assert queue.job(TENANT, gang.id).attempt == 3


def test_claim_sent_twice_answers_the_same_workers(queue: JobQueue, scripts: RedisScripts, claim: Claims) -> None:
    submit(queue, resources={"num_workers": 4, "min_workers": 2})
    first = claims.claim(scripts, lease_seconds=LEASE_SECONDS, token="t", free=Seats(3, 0))
    again = claims.claim(scripts, lease_seconds=LEASE_SECONDS, token="t", free=Seats(0, 0))
    assert first == again
    assert first is not None
    assert first.workers == 3


def test_quota_lets_an_elastic_gang_have_fewer(queue: JobQueue, scripts: RedisScripts, claim: Claims) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_running=4))
    submit(queue)
    gang = submit(queue, resources={"num_workers": 6, "min_workers": 2})
    claim(1, 0)
    assert got(claim(5, 0)) == (gang.id, "cpu", 3)


def test_elastic_gang_keeps_seats_until_its_fewest_are_free(queue: JobQueue, claim: Claims) -> None:
    gang = submit(queue, resources={"num_workers": 6, "min_workers": 3, "gpus_per_worker": 0})
    small = submit(queue, resources={"gpus_per_worker": 0})
    assert claim(2, 0) is None, "the seats are kept for the gang"
    waits = place(queue, small.id)
    assert (waits.reason, waits.blocked_by) == ("larger_job", [gang.id])
    assert got(claim(3, 0)) == (gang.id, "cpu", 3)
    assert got(claim(1, 0)) == (small.id, "cpu", 1)


def test_gang_that_starts_with_fewer_than_all_seats_is_not_told_that_no_worker_could_run_it(
    queue: JobQueue, scripts: RedisScripts, claim: Claims
) -> None:
    elastic = submit(queue, resources={"num_workers": 10, "min_workers": 6, "gpus_per_worker": 0})
    rigid = submit(queue, resources={"num_workers": 10, "gpus_per_worker": 0})
    assert place(queue, elastic.id).reason == "no_free_worker"
    assert place(queue, rigid.id).reason == "no_such_worker"
    claims.publish_capacity(scripts, Capacity(Seats(6, 2), 1 << 30, most=10))
    assert place(queue, rigid.id).reason == "cluster_grows"


def test_preemption_frees_enough_for_the_fewest_of_an_urgent_gang(
    queue: JobQueue, scripts: RedisScripts, claim: Claims
) -> None:
    modest = [submit(queue, priority=priority) for priority in (2, 1)]
    assert {job and job.job for job in (claim(6, 0), claim(5, 0))} == {job.id for job in modest}
    submit(queue, resources={"num_workers": 6, "min_workers": 6, "gpus_per_worker": 0}, priority=9)
    assert claims.preempt(scripts, Seats(3, 0)) is None, "five would not do"
    assert claims.preempt(scripts, Seats(4, 0)) == modest[1].id


def test_shares_of_a_gpu_fill_it_and_no_more(queue: JobQueue, scripts: RedisScripts, claim: Claims) -> None:
    quarter = [submit(queue, resources={"gpus_per_worker": 0.25}) for _ in range(2)]
    half = submit(queue, resources={"gpus_per_worker": 0.5})
    whole = submit(queue, resources={"gpus_per_worker": 1})
    assert got(claim(0, 1)) == (quarter[0].id, "gpu", 1)
    assert claim(0, 0) is None
    assert got(claim(0, 0, (3,))) == (quarter[1].id, "gpu", 1)
    assert claim(0, 0, (1, 1)) is None, "two quarters of two GPUs are no half"
    assert got(claim(0, 0, (1, 2))) == (half.id, "gpu", 1)
    assert claim(0, 0, (3, 3)) is None
    assert Tenants(scripts).get(TENANT).gpus == 1.0
    assert got(claim(0, 1, (3,))) == (whole.id, "gpu", 1)
    assert Tenants(scripts).get(TENANT).gpus == 2.0


def test_small_shares_do_not_starve_a_job_that_needs_the_whole_gpu(queue: JobQueue, claim: Claims) -> None:
    submit(queue, resources={"gpus_per_worker": 1})
    submit(queue, resources={"gpus_per_worker": 0.25})
    assert claim(0, 0, (3, 3)) is None


def test_shares_count_for_their_part_of_a_quota_of_gpus(queue: JobQueue, scripts: RedisScripts, claim: Claims) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_gpus=1))
    shares = [submit(queue, resources={"gpus_per_worker": 0.5}) for _ in range(3)]
    assert [got(claim(0, 2)), got(claim(0, 2))] == [(job.id, "gpu", 1) for job in shares[:2]]
    assert claim(0, 2) is None
    assert place(queue, shares[2].id).reason == "quota"


def test_demand_is_what_runs_and_waits_up_to_the_most_that_there_may_be(
    queue: JobQueue, scripts: RedisScripts, claim: Claims
) -> None:
    submit(queue, resources={"num_workers": 3, "gpus_per_worker": 0})
    claim(3, 0)
    for share in (0.5, 0.5, 0.25):
        submit(queue, resources={"gpus_per_worker": share})
    submit(queue, OTHER, dataset=VALIDATION, resources={"num_workers": 5, "min_workers": 2, "gpus_per_worker": 0})
    assert claims.demand(scripts, 100) == Seats(8, 2)
    assert claims.demand(scripts, 7).cpu <= 7
    assert claims.demand(scripts, 3) == Seats(3, 0), "what runs comes first"


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"num_workers": 2, "min_workers": 3}, "min_workers of 3 is over resources.num_workers of 2"),
        ({"gpus_per_worker": 0.5, "num_workers": 2}, "a GPU each; set it to 1 or 0"),
        ({"gpus_per_worker": 0.3}, "multiple of 0.25"),
    ],
)
def test_resources_that_cannot_be_had_are_refused(resources: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_spec(resources=resources)


def test_numbers_of_workers_are_those_that_share_the_streams_evenly() -> None:
    spec: JobSpec = make_spec(train={"batch_size": 24}, resources={"num_workers": 8, "min_workers": 2})
    assert spec.worker_counts == [8, 6, 4, 3, 2]
