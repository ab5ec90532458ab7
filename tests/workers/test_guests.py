"""Processes made for one job, on a GPU that only Ray believes in: what they reserve, and what outlives a dispatcher."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util import list_named_actors

from services.jobqueue import claims
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, JobState
from services.jobqueue.scripts import RedisScripts
from tests.conftest import SECRET
from tests.services.queue_samples import LEASE_SECONDS, TENANT, add_datasets, audit, submit
from workers.guests import Guest
from workers.places import Seat, choose_seats, free_seats

START_SECONDS = 60.0


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    ray.init(num_cpus=2, num_gpus=1, namespace="unroll", include_dashboard=False, logging_level="ERROR")
    yield ray.get_runtime_context().get_node_id()
    ray.shutdown()


@pytest.fixture
def seat(node: str) -> Seat:
    seat = Seat("trainer-0", node, "host", threads=2, has_gpu=True, memory=1 << 30)
    seat.is_warm = True
    return seat


@pytest.fixture
def environment(scripts: RedisScripts, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secret").write_text(SECRET)
    return {"REDIS_URL": scripts.url, "UNROLL_HOME": str(tmp_path), "UNROLL_SECRET_FILE": str(tmp_path / "secret")}


@pytest.fixture
def start(scripts: RedisScripts, seat: Seat, environment: dict[str, str]) -> Callable[[Claim | None], Guest]:
    def start(claim: Claim | None) -> Guest:
        assert claim is not None
        return Guest.start(claim, choose_seats([seat], claim), scripts, environment, LEASE_SECONDS)

    return start


def gpus() -> float:
    return float(ray.available_resources().get("GPU", 0.0))


def is_there(guest: Guest) -> bool:
    return bool(ray.wait([guest.ready], timeout=0)[0])


def test_shares_reserve_their_part_of_a_gpu_until_their_jobs_end(
    scripts: RedisScripts, seat: Seat, start: Callable[[Claim | None], Guest], until: Callable[..., Any]
) -> None:
    queue = JobQueue(scripts)
    add_datasets(queue)
    jobs = [submit(queue, resources={"gpus_per_worker": share}).id for share in (0.25, 0.5)]
    guests = []
    for _ in jobs:
        guests.append(start(claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=free_seats([seat]))))
    assert seat.quarters_left == 1
    until(lambda: all(is_there(guest) for guest in guests), START_SECONDS)
    until(lambda: gpus() == 0.25)
    while not all(guest.is_over for guest in guests):
        for guest in guests:
            guest.look_after()
    # There are no such data in storage; that much the trainers found out, and said so by their claims.
    assert [queue.job(TENANT, job).state for job in jobs] == [JobState.FAILED, JobState.FAILED]
    for guest in guests:
        guest.leave()
    until(lambda: gpus() == 1.0)
    assert free_seats([seat]).gpu == 1
    audit(scripts)


def test_next_dispatcher_finds_the_seats_taken_and_ends_what_never_got_its_job(
    scripts: RedisScripts, seat: Seat, start: Callable[[Claim | None], Guest], until: Callable[..., Any]
) -> None:
    queue = JobQueue(scripts)
    add_datasets(queue)
    submit(queue, resources={"gpus_per_worker": 0.75})
    left = start(claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=free_seats([seat])))
    until(lambda: is_there(left), START_SECONDS)
    found = Seat(seat.name, seat.node_id, seat.host, threads=2, has_gpu=True, memory=1 << 30)
    (adopted,) = Guest.adopt_all({found.name: found})
    assert found.quarters_left == 1
    until(lambda: adopted.look_after() or adopted.is_over)
    adopted.leave()
    assert (found.guests, list_named_actors()) == ({}, [])
    left.look_after()


def test_job_cancelled_before_its_process_is_there_ends_at_once(
    scripts: RedisScripts, seat: Seat, start: Callable[[Claim | None], Guest], until: Callable[..., Any]
) -> None:
    queue = JobQueue(scripts)
    add_datasets(queue)
    job = submit(queue, resources={"gpus_per_worker": 0.25}).id
    guest = start(claims.claim(scripts, lease_seconds=LEASE_SECONDS, free=free_seats([seat])))
    queue.cancel(TENANT, job)
    until(lambda: guest.look_after() or guest.is_over)
    guest.leave()
    assert queue.job(TENANT, job).state == JobState.CANCELLED
    assert free_seats([seat]).gpu == 1
    audit(scripts)
