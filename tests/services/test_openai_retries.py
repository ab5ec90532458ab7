"""Clients that repeat a request unasked: they make no job twice, lose none, and are told what is in vain."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, TEXT, Api
from openai_sdk import LosesAnswers, Sdk, sdk_of

from services.jobqueue.tries import WINDOW_SECONDS

PATH = "/v1/fine_tuning/jobs"


def body(dataset: str, **changes: Any) -> dict[str, Any]:
    rnn = {"model": {name: SMALL_MODEL[name] for name in ("hidden_size", "embedding_size")}, "train": SMALL_TRAIN}
    return {"model": "gru", "training_file": dataset, "method": {"type": "rnn", "rnn": rnn}} | changes


def post(http: httpx.Client, asked: dict[str, Any], tries: int = 0, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(PATH, json=asked, headers={"x-stainless-retry-count": str(tries)} | named)


@pytest.fixture
def asked(api: Api) -> dict[str, Any]:
    return body(api.upload(TEXT)["id"])


def jobs(api: Api) -> list[str]:
    return [job["id"] for job in api.client.get("/v1/jobs").json()["data"]]


def made(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_answers_leave_one_job_that_the_client_knows(api: Api, asked: dict[str, Any], lost: int) -> None:
    line = LosesAnswers(lost)
    with httpx2.Client(transport=line) as http, sdk_of(api, max_retries=2, http_client=http) as sdk:
        job = sdk("fine_tuning.jobs.create", **asked)
    assert line.asked == ["0", "1", "2"][: lost + 1]
    assert jobs(api) == [job.id]


def test_repetition_of_what_never_arrived_makes_the_job(api: Api, asked: dict[str, Any]) -> None:
    first = made(post(api.client, asked, 1))
    assert made(post(api.client, asked, 2)) == first
    assert jobs(api) == [first]


def test_repetition_is_answered_with_the_job_as_it_is_now_though_it_could_not_be_made_again(
    api: Api, asked: dict[str, Any]
) -> None:
    job = made(post(api.client, asked))
    api.client.post(f"/v1/jobs/{job}/cancel")
    api.client.delete(f"/v1/datasets/{asked['training_file']}")
    again = post(api.client, asked, 1)
    assert (made(again), again.json()["status"]) == (job, "cancelled")


def test_first_tries_are_jobs_of_their_own(api: Api, asked: dict[str, Any]) -> None:
    ids = [made(post(api.client, asked)) for _ in range(3)]
    assert jobs(api) == ids[::-1]
    assert len(set(ids)) == 3


def test_repetition_after_two_first_tries_belongs_to_nobody_and_makes_a_job(api: Api, asked: dict[str, Any]) -> None:
    ids = [made(post(api.client, asked)), made(post(api.client, asked)), made(post(api.client, asked, 1))]
    assert len(set(ids)) == 3
    assert made(post(api.client, asked, 2)) == ids[2], "which is known from then on"


def test_repetition_of_another_body_or_by_another_key_makes_a_job(api: Api, asked: dict[str, Any]) -> None:
    first = made(post(api.client, asked))
    assert made(post(api.client, asked | {"suffix": "other"}, 1)) != first
    with api.client_with(api.client.post("/v1/keys", json={"name": "other"}).json()["key"]) as other:
        assert made(post(other, asked, 1)) != first
    assert len(jobs(api)) == 3


def test_try_is_forgotten_after_a_minute(api: Api, asked: dict[str, Any]) -> None:
    first = made(post(api.client, asked))
    (key,) = api.scripts.redis.keys("{unroll}:try:*")
    assert WINDOW_SECONDS - 5 < api.scripts.redis.ttl(key) <= WINDOW_SECONDS == 60
    (known,) = api.scripts.redis.keys("{unroll}:idempotency:*")
    assert api.scripts.redis.ttl(known) > WINDOW_SECONDS, "or a repetition in its last second would find no job"
    api.scripts.redis.delete(key)
    assert made(post(api.client, asked, 1)) != first


def test_try_that_overtakes_the_one_before_it_makes_the_only_job(api: Api, asked: dict[str, Any]) -> None:
    """The first is still being checked when its repetition comes."""
    spec = api.submit(asked["training_file"])
    made(post(api.client, asked))
    (known,) = (key for key in api.scripts.redis.keys("{unroll}:idempotency:*"))
    api.scripts.redis.delete(known)  # as if it had not come to the queue yet
    second = made(post(api.client, asked, 1))
    key = known.rpartition(":")[2]
    found = api.queue.submitted("default", key)
    assert found is not None
    assert found.id == second != spec["id"]
    assert api.queue.submit("default", found.asked(), idempotency_key=key).id == second


def test_key_of_the_clients_own_goes_before(api: Api, asked: dict[str, Any]) -> None:
    first = post(api.client, asked, idempotency_key="mine")
    assert made(post(api.client, asked, idempotency_key="mine")) == made(first)
    assert made(post(api.client, asked, 1)) != made(first)
    assert [key for key in api.scripts.redis.keys("{unroll}:idempotency:*") if key.endswith(":mine")] != []
    reused = post(api.client, asked | {"suffix": "other"}, idempotency_key="mine")
    assert (reused.status_code, reused.json()["error"]["param"]) == (409, "Idempotency-Key")
    assert reused.headers["x-should-retry"] == "false"


def refusals(api: Api) -> Iterator[httpx.Response]:
    """Answers of many kinds."""
    http, unknown = api.client, "ds-" + "0" * 32
    dataset = http.get("/v1/datasets").json()["data"][0]["id"]
    yield api.anonymous.get("/v1/files")
    yield http.get(f"/v1/files/{unknown}")
    yield http.get("/v1/nothing")
    yield http.put("/v1/files")
    yield http.post(PATH, json={})
    yield http.get("/v1/files", headers={"host": "elsewhere"})
    yield http.post("/v1/completions", json={"model": "job-" + "0" * 16})
    yield post(http, body(dataset))
    yield http.delete(f"/v1/files/{dataset}")
    http.put("/v1/tenants/default", json={"max_queued": 1})
    yield post(http, body(dataset, suffix="one too many"))
    limited = http.post("/v1/keys", json={"scopes": ["read"], "requests_per_minute": 1}).json()["key"]
    with api.client_with(limited) as slow:
        yield slow.delete(f"/v1/files/{dataset}")
        yield slow.get("/v1/files")
        yield slow.get("/v1/files")


def test_refusals_that_last_say_that_repeating_is_in_vain(api: Api, asked: dict[str, Any]) -> None:
    seen = [(answer.status_code, answer.headers.get("x-should-retry")) for answer in refusals(api)]
    lasting = [(status, "false") for status in (401, 404, 404, 405, 422, 400, 404)]
    passing = [(200, None), (409, None), (429, None)]
    assert seen == [*lasting, *passing, (403, "false"), (200, None), (429, None)]


def test_client_asks_once_where_it_would_be_in_vain(api: Api, asked: dict[str, Any]) -> None:
    line = LosesAnswers(0)
    headers = {"idempotency-key": "mine"}
    with httpx2.Client(transport=line) as http, sdk_of(api, max_retries=2, http_client=http) as sdk:
        sdk("fine_tuning.jobs.create", **asked, extra_headers=headers)
        with pytest.raises(openai.ConflictError):
            sdk("fine_tuning.jobs.create", **asked, suffix="other", extra_headers=headers)
    assert line.asked == ["0", "0"]


def test_client_repeats_what_may_pass(api: Api, asked: dict[str, Any], sdk: Sdk) -> None:
    """One more place in the queue comes free between its first try and its second."""
    api.client.put("/v1/tenants/default", json={"max_queued": 1})
    waiting = made(post(api.client, asked))
    with pytest.raises(openai.RateLimitError) as refused:
        sdk("fine_tuning.jobs.create", **asked, suffix="other")
    assert (refused.value.code, refused.value.response.headers["retry-after"]) == ("quota_exceeded", "30")
    api.client.post(f"/v1/jobs/{waiting}/cancel")
    job = sdk("fine_tuning.jobs.create", **asked, suffix="other", extra_headers={"x-stainless-retry-count": "1"})
    assert json.loads(job.to_json())["unroll"]["spec"]["name"] == "other"
