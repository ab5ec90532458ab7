"""What a tenant is told of what it used."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from api_service import Api, Trained

TODAY = dt.datetime.now(dt.UTC).date


def used(api: Api) -> dict[str, Any]:
    answer = api.client.get("/v1/usage")
    assert answer.status_code == 200, answer.text
    total: dict[str, Any] = answer.json()["total"]
    return total


def test_training_is_counted_by_tenant_and_day(api: Api) -> None:
    api.submit()
    job = api.claim()
    job.write(totals={"characters:gru": 330, "steps:gru": 10})
    began = int(api.scripts.redis.hget(f"{{unroll}}:job:{job.claim.job}", "counted_at")) - 90_000
    api.scripts.redis.hset(f"{{unroll}}:job:{job.claim.job}", "counted_at", began)
    job.finish("succeeded", "0" * 64)
    body = api.client.get("/v1/usage").json()
    assert body["tenant"] == "default"
    assert [day["date"] for day in body["days"]] == [str(TODAY())]
    total = body["total"]
    assert (total["characters_trained"], total["training_steps"], total["tokens_sampled"]) == (330, 10, 0)
    assert 90 <= total["worker_seconds"] < 100
    with api.other_tenant() as other:
        assert other.get("/v1/usage").json()["days"] == []


@pytest.mark.usefixtures("sampler")
@pytest.mark.parametrize("stream", [False, True])
def test_sampled_tokens_are_counted(
    api: Api, model: str, trained: Trained, until: Callable[..., Any], stream: bool
) -> None:
    body = {"model": model, "prompt": "the ", "max_tokens": 7, "n": 2, "stream": stream}
    answer = api.client.post("/v1/completions", json=body)
    assert answer.status_code == 200
    until(lambda: used(api)["tokens_sampled"] == 14)
    if stream:
        assert '"usage":{' not in answer.text, "nobody asked for it"
        assert answer.text.endswith("data: [DONE]\n\n")


def test_days_are_bounded(api: Api) -> None:
    for query, code in (({"start": "2026-02-30"}, 422), ({"start": "2020-01-01"}, 422), ({"end": "2026-01-01"}, 200)):
        answer = api.client.get("/v1/usage", params=query)
        assert answer.status_code == code
        if code == 422:
            assert answer.json()["error"]["param"] == "start"
    assert api.client.get("/v1/usage", params={"end": "0001-01-05"}).status_code in (200, 422)


def test_only_the_days_asked_for_are_counted_the_first_and_the_last_included(api: Api) -> None:
    first = dt.date(2026, 2, 3)
    for days in range(-1, 4):
        day = (first - dt.date(1970, 1, 1)).days + days
        api.scripts.redis.hset("{unroll}:usage:default", f"{day}:tokens", 10 ** (days + 1))
    body = api.client.get("/v1/usage", params={"start": "2026-02-03", "end": "2026-02-05"}).json()
    assert [day["date"] for day in body["days"]] == ["2026-02-03", "2026-02-04", "2026-02-05"]
    assert body["total"]["tokens_sampled"] == 1110
