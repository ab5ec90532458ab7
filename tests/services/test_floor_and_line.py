"""Who works at what, and who waits: what the dispatcher tells of workers, what the queue tells of its line."""

from typing import Any

import pytest
from api_service import Api
from queue_samples import LEASE_SECONDS, TENANT, VALIDATION, add_datasets, submit

from services.access import Access
from services.jobqueue import claims, keys
from services.jobqueue.api_keys import ApiKey, ApiKeys, Scope
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.dump import dump
from services.jobqueue.floor import TOLD_SECONDS, Floor, Occupant, Worker, publish_workers
from services.jobqueue.line import Line, Lines
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants

OTHER = "tenant-b"


def worker(name: str = "trainer-a-0", *jobs: str, host: str = "host-1", **changes: Any) -> Worker:
    fields: dict[str, Any] = {
        "id": name,
        "node": "a" * 56,
        "host": host,
        "kind": "cpu",
        "threads": 2,
        "memory_bytes": 1 << 30,
        "state": "busy" if jobs else "idle",
        "jobs": [Occupant(job=job) for job in jobs],
        "num_jobs": len(jobs),
        "utilisation": 0.25,
    }
    return Worker(**(fields | changes))


def hold(scripts: RedisScripts) -> ClaimedJob:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    return ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)


def ids(line: Line) -> tuple[list[str], list[str], list[str]]:
    return [job.id for job in line.waiting], [job.id for job in line.running], [job.id for job in line.paused]


def key_of(api: Api, tenant: str, *scopes: Scope) -> str:
    access = Access(ApiKeys(api.scripts), api.settings.secret)
    return access.create(ApiKey(id="", tenant=tenant, scopes=scopes))[1]


def test_workers_are_told_by_host_and_forgotten_with_the_dispatcher(scripts: RedisScripts) -> None:
    told = [worker("b", host="host-2"), worker("c"), worker("a")]
    publish_workers(scripts, told)
    assert Floor(scripts).workers(None) == [told[2], told[1], told[0]]
    assert 0 < scripts.redis.pttl(keys.WORKERS) <= TOLD_SECONDS * 1000
    scripts.redis.delete(keys.WORKERS)  # as its time does
    assert Floor(scripts).workers(None) == []


def test_workers_that_are_as_before_are_kept_without_a_write(scripts: RedisScripts) -> None:
    publish_workers(scripts, [worker()])
    scripts.redis.pexpire(keys.WORKERS, 1500)
    writes = scripts.redis.info("commandstats")["cmdstat_set"]["calls"]
    publish_workers(scripts, [worker()])
    assert scripts.redis.info("commandstats")["cmdstat_set"]["calls"] == writes
    assert scripts.redis.pttl(keys.WORKERS) > 1500
    publish_workers(scripts, [worker("trainer-a-0", "job-1")])
    assert Floor(scripts).workers(None) == [worker("trainer-a-0", "job-1")]


def test_jobs_of_others_are_a_number(queue: JobQueue, scripts: RedisScripts) -> None:
    add_datasets(queue, OTHER, VALIDATION)
    own, foreign = submit(queue).id, submit(queue, OTHER, dataset=VALIDATION).id
    hold(scripts), hold(scripts)
    publish_workers(scripts, [worker("a", own, foreign)])
    (seen,) = Floor(scripts).workers(TENANT)
    assert (seen.jobs, seen.num_jobs) == ([Occupant(job=own)], 2)
    assert foreign not in seen.model_dump_json()


def test_what_workers_do_is_not_backed_up(scripts: RedisScripts) -> None:
    publish_workers(scripts, [worker()])
    assert "workers" not in {entry.key for entry in dump(scripts)}


def test_line_is_in_the_order_of_starts_with_what_runs_and_what_is_set_aside(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    first, failed, low, high, aside = (submit(queue, priority=number) for number in (9, 8, 2, 7, 5))
    held = hold(scripts)
    hold(scripts).fail({"type": "io_error", "message": "disk"}, retriable=True)
    queue.pause(TENANT, aside.id)
    line = Lines(scripts, queue).read(TENANT)
    assert held.claim.job == first.id
    assert ids(line) == ([high.id, low.id, failed.id], [first.id], [aside.id])
    assert (line.num_waiting, line.num_running) == (3, 1)
    assert [job.queue.reason for job in line.waiting if job.queue] == ["no_free_worker", "no_free_worker", "backoff"]
    assert [(job.priority, job.num_workers, job.tenant) for job in line.waiting] == [
        (7, 1, TENANT),
        (2, 1, TENANT),
        (8, 1, TENANT),
    ]


def test_line_of_one_tenant_has_no_job_of_another_and_that_of_all_has_both(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    add_datasets(queue, OTHER, VALIDATION)
    own, foreign = submit(queue), submit(queue, OTHER, dataset=VALIDATION)
    running = {hold(scripts).claim.job, hold(scripts).claim.job}
    assert running == {own.id, foreign.id}
    waits, waits_too = submit(queue), submit(queue, OTHER, dataset=VALIDATION)
    aside = submit(queue, OTHER, dataset=VALIDATION)
    queue.pause(OTHER, aside.id)
    lines = Lines(scripts, queue)
    assert ids(lines.read(TENANT)) == ([waits.id], [own.id], [])
    assert [job.id for job in lines.read(None).paused] == [aside.id]
    whole = lines.read(None)
    assert {job.id for job in whole.waiting} == {waits.id, waits_too.id}
    assert ({job.id for job in whole.running}, whole.num_waiting, whole.num_running) == (running, 2, 2)


def test_long_line_shows_those_that_start_first_over_all_tenants_and_counts_the_rest(
    queue: JobQueue, scripts: RedisScripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.jobqueue.line.MOST_SHOWN", 4)
    add_datasets(queue, OTHER, VALIDATION)
    Tenants(scripts).put(OTHER, TenantLimits(weight=3))
    own = [submit(queue).id for _ in range(5)]
    others = [submit(queue, OTHER, dataset=VALIDATION).id for _ in range(5)]
    line = Lines(scripts, queue).read(None)
    assert {job.id for job in line.waiting} == {own[0], *others[:3]}
    assert line.num_waiting == 10
    assert [job.id for job in Lines(scripts, queue).read(TENANT).waiting] == own[:4]


@pytest.mark.parametrize(("scopes", "sees"), [((Scope.READ,), False), ((Scope.READ, Scope.ADMIN), True)])
def test_key_of_an_admin_sees_the_jobs_of_all_tenants(api: Api, scopes: tuple[Scope, ...], sees: bool) -> None:
    running, waiting = api.submit()["id"], api.submit()["id"]
    api.claim()
    publish_workers(api.scripts, [worker("a", running)])
    with api.client_with(key_of(api, OTHER, *scopes)) as other:
        (seen,) = other.get("/v1/workers").json()["data"]
        line = other.get("/v1/queue").json()
    assert seen["jobs"] == ([{"job": running, "share": 1.0}] if sees else [])
    assert (seen["num_jobs"], seen["state"]) == (1, "busy")
    assert [job["id"] for job in line["waiting"]] == ([waiting] if sees else [])
    assert [job["id"] for job in line["running"]] == ([running] if sees else [])
