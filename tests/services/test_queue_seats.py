"""Seats: jobs of several workers and of GPUs, what is kept for them, and quotas of GPUs."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_samples import LEASE_SECONDS, TENANT, VALIDATION, add_datasets, audit, submit

from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, Claim, JobRecord, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants
from tests.conftest import RedisServer

OTHER = "tenant-b"


@pytest.fixture
def claim(queue: JobQueue, scripts: RedisScripts) -> Callable[[int, int], Claim | None]:
    """`claim(cpu, gpu)`: asks for a job with so many free seats."""
    add_datasets(queue, OTHER, VALIDATION)
    claims.publish_capacity(scripts, Capacity(Seats(4, 2), 1 << 30))
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


def test_cpus_kept_for_a_large_job_keep_no_gpu_from_another_tenant(
    queue: JobQueue, claim: Callable[[int, int], Claim | None]
) -> None:
    submit(queue, resources={"num_workers": 4, "gpus_per_worker": 0})
    on_gpu = submit(queue, OTHER, dataset=VALIDATION, resources={"gpus_per_worker": 1})
    assert job_of(claim(3, 1)) == on_gpu.id


SEATS = Seats(3, 2)
MOVES = ("submit", "claim", "kill", "lose", "finish", "suspend", "release")


class Machines:
    """A queue, the seats of its workers, and what has taken them."""

    def __init__(self, url: str, quotas: tuple[TenantLimits, TenantLimits]) -> None:
        self.scripts = RedisScripts(url, b"any")
        self.scripts.redis.flushall()
        self.queue = JobQueue(self.scripts)
        self.working: list[Claim] = []
        self.sets = {TENANT: "ds-" + "a" * 32, OTHER: VALIDATION}
        self.quotas = dict(zip(self.sets, quotas, strict=True))
        for name, dataset in self.sets.items():
            add_datasets(self.queue, name, dataset)
            Tenants(self.scripts).put(name, self.quotas[name])
        claims.publish_capacity(self.scripts, Capacity(SEATS, 1 << 30))

    def taken(self, seat: str, name: str | None = None) -> int:
        mine = (held for held in self.working if held.seat == seat and name in (None, held.tenant))
        return sum(held.spec.resources.num_workers for held in mine)

    def claim(self) -> bool:
        free = Seats(SEATS.cpu - self.taken("cpu"), SEATS.gpu - self.taken("gpu"))
        held = claims.claim(self.scripts, lease_seconds=LEASE_SECONDS, free=free)
        if held is None:
            return False
        assert held.spec.resources.num_workers <= getattr(free, held.seat)
        assert held.spec.resources.needs in ("any", held.seat)
        self.working.append(held)
        return True

    def move(self, move: str, number: int) -> None:
        if move == "submit":
            name = (TENANT, OTHER)[number % 2]
            resources = {"gpus_per_worker": (None, 0, 1)[number % 3], "num_workers": 1 + number % 4}
            submit(self.queue, name, dataset=self.sets[name], resources=resources, priority=number % 10)
        elif move == "claim":
            self.claim()
        elif self.working:
            self.leave(self.working.pop(number % len(self.working)), move)

    def leave(self, held: Claim, how: str) -> None:
        job = ClaimedJob(self.scripts, held, lease_seconds=LEASE_SECONDS)
        if how == "kill":
            self.scripts.redis.zadd(keys.LEASES, {held.job: 1})
            claims.reap(self.scripts, lease_seconds=LEASE_SECONDS)
        elif how in ("lose", "release"):
            getattr(claims, how)(self.scripts, held)
        elif how == "suspend":
            job.suspend()
        else:
            job.finish("succeeded", "0" * 64)

    def check_quotas(self) -> None:
        for name, limits in self.quotas.items():
            gpus = self.taken("gpu", name)
            assert limits.max_gpus is None or gpus <= limits.max_gpus
            assert limits.max_running is None or gpus + self.taken("cpu", name) <= limits.max_running

    def could_ever_start(self, job: JobRecord) -> bool:
        limits, resources = self.quotas[job.tenant], job.asked().resources
        gpus = min(SEATS.gpu, SEATS.gpu if limits.max_gpus is None else limits.max_gpus)
        most = {"gpu": gpus, "cpu": SEATS.cpu, "any": max(gpus, SEATS.cpu)}[resources.needs]
        return resources.num_workers <= min(most, most if limits.max_running is None else limits.max_running)


QUOTAS = st.builds(TenantLimits, max_gpus=st.none() | st.integers(0, 2), max_running=st.none() | st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(
    quotas=st.tuples(QUOTAS, QUOTAS),
    moves=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 119)), min_size=10, max_size=60),
)
def test_no_seat_is_given_twice_no_quota_broken_and_nobody_starves_whatever_dies(
    redis_server: RedisServer, quotas: tuple[TenantLimits, TenantLimits], moves: list[tuple[str, int]]
) -> None:
    machines = Machines(redis_server.url, quotas)
    for move, number in moves:
        machines.move(move, number)
        machines.check_quotas()
    while True:
        while machines.claim():
            machines.check_quotas()
        if not machines.working:
            break
        machines.leave(machines.working.pop(0), "finish")
    left = [job for name in machines.sets for job in machines.queue.jobs(name, limit=1000)[0] if job.state == "queued"]
    assert [job for job in left if machines.could_ever_start(job)] == []
    audit(machines.scripts)
    machines.scripts.redis.flushall()
    machines.scripts.close()
