"""Submitting: what is kept, what is refused, and what a submission sent twice comes to."""

import json
from hashlib import sha256

import pytest
from queue_samples import DATASET, TENANT, VALIDATION, add_datasets, contents, jobs_in, make_dataset, make_spec, submit

from rnncore.errors import Conflict, NotFound
from services.jobqueue import claims, keys
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord, JobState, QueuePlace
from services.jobqueue.scripts import RedisScripts


def test_submitted_job_is_queued_with_every_default_resolved(queue: JobQueue) -> None:
    spec = make_spec(name="first", metadata={"k": "v"})
    job = queue.submit(TENANT, spec)
    assert job == JobRecord(
        id=job.id,
        state=JobState.QUEUED,
        spec=spec,
        tenant=TENANT,
        created_at=job.created_at,
        queue=QueuePlace(position=1, reason="no_free_worker"),
    )
    assert job.spec.train.max_steps == 5_000


def test_same_key_and_body_answer_the_same_job(queue: JobQueue, scripts: RedisScripts) -> None:
    first = queue.submit(TENANT, make_spec(), idempotency_key="k")
    before = contents(scripts)
    assert queue.submit(TENANT, make_spec(), idempotency_key="k") == first
    assert contents(scripts) == before


def test_same_key_with_another_body_is_a_conflict_that_names_the_job(queue: JobQueue, scripts: RedisScripts) -> None:
    first = queue.submit(TENANT, make_spec(), idempotency_key="k")
    before = contents(scripts)
    with pytest.raises(Conflict, match=first.id) as caught:
        queue.submit(TENANT, make_spec(priority=9), idempotency_key="k")
    assert caught.value.param == "Idempotency-Key"
    assert contents(scripts) == before


def test_same_key_of_another_tenant_makes_another_job(queue: JobQueue) -> None:
    add_datasets(queue, "tenant-b", VALIDATION)
    first = queue.submit(TENANT, make_spec(), idempotency_key="k")
    second = queue.submit("tenant-b", make_spec(dataset=VALIDATION), idempotency_key="k")
    assert first.id != second.id


def test_without_a_key_equal_bodies_are_two_jobs(queue: JobQueue) -> None:
    assert submit(queue).id != submit(queue).id


@pytest.mark.parametrize("field", ["dataset", "validation_dataset"])
def test_unknown_data_set_is_named_and_nothing_is_kept(queue: JobQueue, scripts: RedisScripts, field: str) -> None:
    before = contents(scripts)
    with pytest.raises(NotFound, match=VALIDATION) as caught:
        queue.submit(TENANT, make_spec(**{field: VALIDATION}), idempotency_key="k")
    assert caught.value.param == field
    assert contents(scripts) == before


def test_data_set_of_another_tenant_is_unknown(queue: JobQueue) -> None:
    add_datasets(queue, "tenant-b", VALIDATION)
    with pytest.raises(NotFound) as caught:
        submit(queue, dataset=VALIDATION)
    assert caught.value.param == "dataset"


def test_submit_script_run_again_with_its_id_makes_no_second_job(queue: JobQueue, scripts: RedisScripts) -> None:
    body = make_spec().model_dump_json()
    digest = sha256(body.encode()).hexdigest()
    signature = scripts.signature("job-0123456789abcdef", TENANT, body)
    arguments = (
        "job-0123456789abcdef",
        TENANT,
        body,
        DATASET,
        "",
        5,
        "lstm",
        "",
        digest,
        60,
        signature,
        "any",
        "1",
        4,
        "",
        "",
        *("", "", ""),  # no trial of a sweep
    )
    assert scripts.run("submit", *arguments) == ["created", "job-0123456789abcdef"]
    before = contents(scripts)
    assert scripts.run("submit", *arguments) == ["created", "job-0123456789abcdef"]
    assert contents(scripts) == before
    assert list(jobs_in(before)) == ["job-0123456789abcdef"]


def test_submission_rings_for_whoever_waits_for_a_job(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    claims.wait_for_job(scripts, 30)  # returns at once, or the time limit of the test ends it
    assert scripts.redis.llen(keys.BELL) == 0


def test_first_event_says_that_the_job_is_queued(queue: JobQueue) -> None:
    events, has_more = queue.events(TENANT, submit(queue).id, after=None, limit=9)
    assert [(event.type, event.data) for event in events] == [
        ("state", {"state": "queued", "reason": "submitted", "attempt": 0, "epoch": 0})
    ]
    assert not has_more


def test_job_of_another_tenant_is_unknown_and_stays_as_it_is(queue: JobQueue, scripts: RedisScripts) -> None:
    ended = queue.cancel(TENANT, submit(queue).id)
    for job in (submit(queue), ended):
        before = contents(scripts)
        for ask in (queue.job, queue.cancel, queue.delete_job, queue.checkpoints):
            with pytest.raises(NotFound, match=f"no job {job.id}"):
                ask("tenant-b", job.id)
        assert contents(scripts) == before


def test_jobs_are_listed_newest_first_page_by_page_to_the_end(queue: JobQueue) -> None:
    ids = [submit(queue).id for _ in range(5)][::-1]
    pages, after = [], None
    for _ in range(3):
        found, has_more = queue.jobs(TENANT, limit=2, after=after)
        pages.append(([job.id for job in found], has_more))
        after = found[-1].id
    assert pages == [(ids[:2], True), (ids[2:4], True), (ids[4:], False)]
    assert queue.jobs(TENANT, limit=2, after=after) == ([], False)


def test_jobs_are_filtered_by_state_and_metadata(queue: JobQueue) -> None:
    wanted = submit(queue, metadata={"a": "1", "b": "2"})
    submit(queue, metadata={"a": "2"})
    queue.cancel(TENANT, submit(queue, metadata={"a": "1"}).id)
    found, _ = queue.jobs(TENANT, state=JobState.QUEUED, metadata={"a": "1"})
    assert [job.id for job in found] == [wanted.id]


def test_equal_data_sets_are_registered_once(queue: JobQueue) -> None:
    first, _ = queue.datasets.get(TENANT, DATASET)
    again = make_dataset().model_copy(update={"name": "other name", "created_at": 2000.0})
    assert queue.datasets.put(again, "other blob") == (first, f"blob of {DATASET}")


def test_idempotency_key_names_body_by_hash_alone(queue: JobQueue, scripts: RedisScripts) -> None:
    job = queue.submit(TENANT, make_spec(), idempotency_key="k")
    kept = contents(scripts)[f"{keys.PREFIX}idempotency:{TENANT}:k"]
    assert kept == f"{job.id} {sha256(make_spec().model_dump_json().encode()).hexdigest()}"
    assert json.loads(scripts.redis.hget(keys.job(job.id), "spec")) == make_spec().model_dump(mode="json")
