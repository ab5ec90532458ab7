"""The client that is awaited does what the one that blocks does; that is written from it."""

import asyncio
import json

import pytest
from fake_unroll_server import DATASET, DONE, JOB, answer, dataset, event, listed, metrics, record, refused, stream
from unroll import AsyncClient, JobFailedError, ServiceUnavailableError


def chunk(text):
    return f"data: {json.dumps({'id': 'c', 'choices': [{'index': 0, 'text': text}]})}\n\n"


def run(work):
    async def whole():
        async with AsyncClient() as client:
            return await work(client)

    return asyncio.run(whole())


def test_job_is_submitted_once_and_followed_through_a_lost_connection(server):
    server.on("POST", "/v1/jobs", refused(503, "starting", headers={"Retry-After": "0"}), answer(record("queued")))
    server.on(
        "GET",
        f"/v1/jobs/{JOB}/events",
        stream(event(1, "state", state="running"), metrics(2, 7)),
        stream(event(3, "state", state="succeeded"), DONE),
    )

    async def work(client):
        job = await client.jobs.submit(dataset=DATASET, train={"max_steps": 7})
        return [one.type async for one in client.jobs.follow(job.id)]

    assert run(work) == ["state", "metrics", "state"]
    keys = {request.headers["idempotency-key"] for request in server.asked("POST", "/v1/jobs")}
    assert len(keys) == 1
    resumed = server.asked("GET", f"/v1/jobs/{JOB}/events")[1]
    assert resumed.headers["last-event-id"] == "2-0"


def test_several_jobs_are_waited_for_at_once(server):
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="succeeded"), DONE))
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("succeeded")))
    error = {"type": "non_finite_loss", "message": "the loss is NaN"}
    server.on("GET", "/v1/jobs/job-2/events", stream(event(1, "state", state="failed"), DONE))
    server.on("GET", "/v1/jobs/job-2", answer(record("failed", id="job-2", error=error)))

    async def work(client):
        return await asyncio.gather(client.jobs.wait(JOB), client.jobs.wait("job-2"), return_exceptions=True)

    good, bad = run(work)
    assert good.state == "succeeded"
    assert isinstance(bad, JobFailedError)
    assert bad.message == "the loss is NaN"


def test_lists_go_on_page_after_page(server):
    one, two = ({**dataset(), "id": f"ds-{number:032x}"} for number in (1, 2))
    server.on("GET", "/v1/datasets", listed(one, has_more=True), listed(two))

    async def work(client):
        return [found.id async for found in client.datasets.list()]

    assert run(work) == [one["id"], two["id"]]
    assert [request.query.get("after") for request in server.requests] == [None, one["id"]]


def test_file_is_sent_again_from_its_start_after_a_refusal_that_passes(server, tmp_path):
    (tmp_path / "book.txt").write_text("hello world")
    server.on("POST", "/v1/datasets", refused(503, "starting", headers={"Retry-After": "0"}), answer(dataset()))

    async def work(client):
        return await client.datasets.upload(tmp_path / "book.txt")

    assert run(work).id == DATASET
    assert [(one.body, one.headers["content-length"]) for one in server.requests] == [(b"hello world", "11")] * 2


def test_text_is_streamed_once_the_sampler_is_back(server):
    refusal = refused(503, "loading", headers={"Retry-After": "0"})
    server.on("POST", "/v1/completions", refusal, stream(chunk("to "), chunk("be"), DONE))

    async def work(client):
        return [one.choices[0].text async for one in client.completions.stream(model=JOB)]

    assert run(work) == ["to ", "be"]


@pytest.mark.parametrize("kind", ["create", "stream"])
def test_patience_with_a_sampler_that_stays_away_ends(server, kind):
    server.on("POST", "/v1/completions", refused(503, "no sampler", headers={"Retry-After": "0"}))

    async def work(client):
        if kind == "create":
            return await client.completions.create(model=JOB)
        return [one async for one in client.completions.stream(model=JOB)]

    with pytest.raises(ServiceUnavailableError, match="no sampler"):
        run(work)
    assert len(server.requests) == 4
