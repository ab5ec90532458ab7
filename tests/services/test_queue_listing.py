"""The listing of a tenant's jobs, on a real Redis: what it finds, in which order, by which pages."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.jobqueue import claims, keys
from services.jobqueue.listing import JobListing, JobQuery
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobState
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.stream import EventStream
from tests.services.queue_samples import DATASET, LEASE_SECONDS, TENANT, VALIDATION, add_datasets, make_spec, submit


@pytest.fixture
def listing(scripts: RedisScripts, queue: JobQueue) -> JobListing:
    return JobListing(scripts, queue)


def names(listing: JobListing, **query: Any) -> list[str | None]:
    return [job.spec and job.spec.name for job in listing.find(TENANT, JobQuery(**query)).jobs]


def measured(
    scripts: RedisScripts, job_id: str, *, ratio: float, loss: float | None = None, speed: float = 1.0
) -> None:
    """As if a trainer had reported it; the audit knows such fields of a job that has not run as none of its affair."""
    fields = {"progress": json.dumps({"ratio": ratio, "characters_per_second": speed})}
    if loss is not None:
        fields["best"] = json.dumps({"step": 3, "validation_loss": loss})
    scripts.redis.hset(keys.job(job_id), mapping=fields)


def test_jobs_come_newest_first_by_pages_and_a_page_too_many_is_empty(queue: JobQueue, listing: JobListing) -> None:
    for number in range(5):
        submit(queue, name=f"run {number}")
    found = listing.find(TENANT, JobQuery(size=2, page=2))
    assert [job.spec and job.spec.name for job in found.jobs] == ["run 2", "run 1"]
    assert (found.num_found, found.num_all, dict(found.states)) == (5, 5, {JobState.QUEUED: 5})
    assert listing.find(TENANT, JobQuery(size=2, page=4)).jobs == []
    assert names(listing, is_reversed=True, size=2) == ["run 0", "run 1"]


def test_another_tenants_jobs_are_not_there(queue: JobQueue, listing: JobListing) -> None:
    add_datasets(queue, "tenant-b", VALIDATION)
    queue.submit("tenant-b", make_spec(dataset=VALIDATION, name="theirs"))
    submit(queue, name="mine")
    assert names(listing) == ["mine"]
    assert names(listing, text="theirs") == []


def test_filters_find_by_state_text_metadata_and_sweep(queue: JobQueue, listing: JobListing) -> None:
    submit(queue, name="Alpha", metadata={"lab": "7"})
    cancelled = submit(queue, name="beta", model={"cell": "gru", "hidden_size": 24})
    queue.cancel(TENANT, cancelled.id)
    assert names(listing, state=JobState.CANCELLED) == ["beta"]
    assert names(listing, text="ALPHA") == ["Alpha"]
    assert names(listing, text="gru 24x1") == ["beta"]
    assert names(listing, text=cancelled.id) == ["beta"]
    assert names(listing, metadata=("lab", "7")) == ["Alpha"]
    assert names(listing, metadata=("lab", "8")) == []
    assert names(listing, sweep="sweep-1") == []
    found = listing.find(TENANT, JobQuery(state=JobState.CANCELLED))
    assert dict(found.states) == {JobState.QUEUED: 1, JobState.CANCELLED: 1}  # what another state would find
    assert (found.num_found, found.num_all) == (1, 2)


def test_orders_sort_by_what_they_name_and_what_has_no_value_goes_last(
    queue: JobQueue, listing: JobListing, scripts: RedisScripts
) -> None:
    add_datasets(queue, TENANT, VALIDATION)
    one = submit(queue, name="one", model={"hidden_size": 9})
    two = submit(queue, name="Two", dataset=VALIDATION, model={"cell": "gru", "hidden_size": 8})
    submit(queue, name="three")
    measured(scripts, one.id, ratio=0.25, loss=2.0, speed=10)
    measured(scripts, two.id, ratio=0.5, loss=1.0, speed=30)
    assert names(listing, order="name") == ["one", "three", "Two"]
    assert names(listing, order="best") == ["Two", "one", "three"]
    assert names(listing, order="best", is_reversed=True) == ["one", "Two", "three"]
    assert names(listing, order="progress", is_reversed=True) == ["Two", "one", "three"]
    assert names(listing, order="network")[0] == "Two"
    assert names(listing, order="speed") == ["three", "Two", "one"]  # none of them runs
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is not None
    assert names(listing, order="speed")[0] == "one"
    assert names(listing, order="state")[-1] == "one"  # running comes behind queued
    assert sorted(names(listing, order="dataset"), key=str) == ["Two", "one", "three"]


def test_names_of_data_sets_are_of_those_that_are_there(queue: JobQueue, listing: JobListing) -> None:
    assert listing.names_of_datasets([DATASET, DATASET, "ds-" + "f" * 32]) == {DATASET: "text"}


def test_altered_record_is_listed_as_failed_and_stops_no_other(
    queue: JobQueue, listing: JobListing, scripts: RedisScripts
) -> None:
    bad = submit(queue, name="bad")
    submit(queue, name="good")
    scripts.redis.hset(keys.job(bad.id), mapping={"spec": "[1", "progress": "x", "best": "7", "state": "odd"})
    for order in ("age", "name", "best", "progress", "dataset", "network", "state", "speed"):
        found = listing.find(TENANT, JobQuery(order=order))  # type: ignore[arg-type]
        assert {(job.id == bad.id, job.state.value) for job in found.jobs} == {(True, "failed"), (False, "queued")}


def test_changes_name_the_jobs_that_something_happened_to_and_new_ones(
    queue: JobQueue, scripts: RedisScripts, redis_server: Any
) -> None:
    old, other = submit(queue), submit(queue)

    async def watch() -> tuple[list[str], list[str], list[str]]:
        stream = EventStream(redis_server.url)
        changes: AsyncIterator[list[str]] = stream.changes(TENANT, [old.id, other.id], wait_seconds=0.2)
        nothing = await anext(changes)
        queue.pause(TENANT, other.id)
        happened = await anext(changes)
        made = submit(queue)
        new = await anext(changes)
        await stream.close()
        return nothing, happened, [{made.id: "new"}.get(job_id, job_id) for job_id in new]

    assert asyncio.run(watch()) == ([], [other.id], ["new"])


def test_changes_of_no_jobs_tell_of_new_ones(queue: JobQueue, redis_server: Any) -> None:
    async def watch() -> list[str]:
        stream = EventStream(redis_server.url)
        changes = stream.changes(TENANT, [], wait_seconds=0.05)
        await anext(changes)
        made = submit(queue)
        found = await anext(changes)
        await stream.close()
        assert found == [made.id]
        return found

    assert len(asyncio.run(watch())) == 1


def test_trials_of_a_sweep_are_found_by_it(queue: JobQueue, listing: JobListing, scripts: RedisScripts) -> None:
    made = submit(queue, name="trial")
    scripts.redis.hset(keys.job(made.id), mapping={"sweep": "sweep-1", "trial": 0})
    submit(queue, name="alone")
    assert names(listing, sweep="sweep-1") == ["trial"]
    scripts.redis.hdel(keys.job(made.id), "sweep", "trial")
