"""Seats: jobs of several workers and of GPUs, what is kept for them, and quotas of GPUs."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_samples import LEASE_SECONDS, TENANT, VALIDATION, add_datasets, audit, submit

from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, Claim, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants

OTHER = "tenant-b"


@pytest.fixture
def claim(queue: JobQueue, scripts: RedisScripts) -> Callable[[int, int], Claim | None]:
    """`claim(cpu, gpu)`: asks for a job with so many free seats."""
    add_datasets(queue, OTHER, VALIDATION)
    claims.publish_capacity(scripts, Capacity(Seats(4, 2), 4, 1 << 30))
    return lambda cpu, gpu: claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=Seats(cpu, gpu))


def run(scripts: RedisScripts, held: Claim) -> None:
    ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).finish("succeeded", "0" * 64)


def job_of(held: Claim | None) -> str | None:
    return held.job if held else None


def test_job_gets_the_kind_of_seat_it_needs(queue: JobQueue, claim: Callable[[int, int], Claim | None]) -> None:
    on_gpu = submit(queue, resources={"gpus_per_worker": 1})
    on_cpu = submit(queue, resources={"gpus_per_worker": 0})
    anywhere = submit(queue)
    assert job_of(claim(1, 0)) == on_cpu.id, "the one before it needs what is not free"
    held = claim(1, 1)
    assert (job_of(held), held and held.seat) == (on_gpu.id, "gpu")
    held = claim(1, 1)
    assert (job_of(held), held and held.seat) == (anywhere.id, "gpu"), "a GPU where one is free"


def test_large_job_is_not_starved_by_small_ones(
    queue: JobQueue, scripts: RedisScripts, claim: Callable[[int, int], Claim | None]
) -> None:
    small = [submit(queue, OTHER, dataset=VALIDATION) for _ in range(3)]
    running = [claim(4, 0), claim(3, 0), claim(2, 0)]
    assert [job_of(held) for held in running] == [job.id for job in small]
    large = submit(queue, resources={"num_workers": 4, "gpus_per_worker": 0}, priority=9)
    late = [submit(queue, OTHER, dataset=VALIDATION, resources={"gpus_per_worker": 0}) for _ in range(50)]
    free = 1
    for held in running:
        assert claim(free, 0) is None, "free seats are kept for the large job"
        place = queue.job(OTHER, late[0].id).queue
        assert place is not None
        assert (place.reason, place.blocked_by) == ("larger_job", [large.id])
        assert held is not None
        run(scripts, held)
        free += 1
    assert job_of(claim(4, 0)) == large.id


def test_job_larger_than_all_workers_keeps_nothing(
    queue: JobQueue, scripts: RedisScripts, claim: Callable[[int, int], Claim | None]
) -> None:
    submit(queue, resources={"num_workers": 5}, priority=9)
    small = submit(queue)
    assert job_of(claim(1, 0)) == small.id


def test_several_workers_are_charged_as_several_turns(
    queue: JobQueue, claim: Callable[[int, int], Claim | None]
) -> None:
    wide = [submit(queue, resources={"num_workers": 3}) for _ in range(2)]
    narrow = [submit(queue, OTHER, dataset=VALIDATION) for _ in range(4)]
    order = [job_of(claim(4, 0)) for _ in range(6)]
    assert order[0] == wide[0].id
    assert order.index(wide[1].id) >= 3
    assert {*order} == {job.id for job in (*wide, *narrow)}


def test_quota_counts_workers_not_jobs(
    queue: JobQueue, scripts: RedisScripts, claim: Callable[[int, int], Claim | None]
) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_running=3))
    first = submit(queue, resources={"num_workers": 2})
    submit(queue, resources={"num_workers": 2})
    small = submit(queue)
    assert job_of(claim(4, 0)) == first.id
    assert job_of(claim(2, 0)) == small.id, "the second pair would be a worker too many"
    assert claim(2, 0) is None
    assert Tenants(scripts).get(TENANT).running == 3


def test_tenant_at_its_gpu_quota_goes_on_with_cpus(
    queue: JobQueue, scripts: RedisScripts, claim: Callable[[int, int], Claim | None]
) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_gpus=1))
    first = submit(queue, resources={"gpus_per_worker": 1})
    second = submit(queue, resources={"gpus_per_worker": 1})
    anywhere = submit(queue)
    assert job_of(claim(1, 2)) == first.id
    held = claim(1, 1)
    assert (job_of(held), held and held.seat) == (anywhere.id, "cpu")
    place = queue.job(TENANT, second.id).queue
    assert place is not None
    assert place.reason == "quota"


def test_jobs_that_wait_for_a_quota_of_gpus_hold_up_no_job_of_their_tenant_that_needs_none(
    queue: JobQueue, scripts: RedisScripts, claim: Callable[[int, int], Claim | None]
) -> None:
    Tenants(scripts).put(TENANT, TenantLimits(max_gpus=1))
    waiting = [submit(queue, resources={"gpus_per_worker": 1}) for _ in range(150)]
    on_cpu = submit(queue, resources={"gpus_per_worker": 0})
    assert [job_of(claim(1, 2)), job_of(claim(1, 1))] == [waiting[0].id, on_cpu.id]


def test_gpu_is_kept_for_who_needs_one_while_a_cpu_job_may_take_any_free_cpu(
    queue: JobQueue, claim: Callable[[int, int], Claim | None]
) -> None:
    on_cpu = submit(queue, resources={"gpus_per_worker": 0}, priority=9)
    on_gpu = submit(queue, resources={"gpus_per_worker": 1})
    assert job_of(claim(0, 1)) == on_gpu.id
    assert claim(0, 1) is None, "a job that wants no GPU gets none"
    assert job_of(claim(1, 1)) == on_cpu.id


@settings(max_examples=30, deadline=None)
@given(
    quotas=st.tuples(st.integers(0, 2), st.integers(0, 3)),
    moves=st.lists(st.tuples(st.sampled_from(["submit", "claim", "lose", "finish", "suspend"]), st.integers(0, 9))),
)
def test_gpu_quota_holds_whatever_dies(
    redis_server: object, quotas: tuple[int, int], moves: list[tuple[str, int]]
) -> None:
    scripts = RedisScripts(redis_server.url, b"any")  # type: ignore[attr-defined]
    scripts.redis.flushall()
    queue = JobQueue(scripts)
    names = {TENANT: "ds-" + "a" * 32, OTHER: VALIDATION}
    for (name, dataset), most in zip(names.items(), quotas, strict=True):
        add_datasets(queue, name, dataset)
        Tenants(scripts).put(name, TenantLimits(max_gpus=most))
    working: list[Claim] = []
    for move, number in moves:
        if move == "submit":
            name = (TENANT, OTHER)[number % 2]
            resources = {"gpus_per_worker": (None, 0, 1)[number % 3], "num_workers": 1 + number % 2}
            submit(queue, name, dataset=names[name], resources=resources, priority=number)
        elif move == "claim":
            taken = sum(held.spec.resources.num_workers for held in working if held.seat == "gpu")
            if held := claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=Seats(2, 4 - taken)):
                working.append(held)
        elif working:
            held = working.pop(number % len(working))
            job = ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)
            if move == "lose":
                claims.lose(scripts, held)
            elif move == "suspend":
                job.suspend()
            else:
                job.finish("succeeded", "0" * 64)
        for name, most in zip(names, quotas, strict=True):
            mine = [held for held in working if held.tenant == name and held.seat == "gpu"]
            assert sum(held.spec.resources.num_workers for held in mine) <= most
    audit(scripts)
    scripts.redis.flushall()
    scripts.close()
