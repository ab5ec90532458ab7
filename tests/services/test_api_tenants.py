"""Shares and quotas over HTTP."""

from typing import Any

import pytest
from api_service import Api


def test_limits_are_set_listed_and_felt(api: Api) -> None:
    dataset = api.upload()["id"]
    body = {"weight": 2.5, "max_running": 1, "max_gpus": 3, "max_queued": 1}
    answer = api.client.put("/v1/tenants/default", json=body)
    whole = body | {"id": "default", "object": "tenant", "running": 0, "gpus": 0, "queued": 0}
    assert (answer.status_code, answer.json()) == (200, whole)
    job = api.submit(dataset)
    refused = api.client.post("/v1/jobs", json={"dataset": dataset, "train": {"tbptt_steps": 5, "batch_size": 3}})
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "30"
    assert (refused.json()["error"]["type"], refused.json()["error"]["code"]) == (
        "insufficient_quota",
        "quota_exceeded",
    )
    api.claim()
    waiting = api.submit(dataset)
    assert api.client.get(f"/v1/jobs/{waiting['id']}").json()["queue"] == {
        "position": 1,
        "reason": "quota",
        "blocked_by": [job["id"]],
        "eta_seconds": None,
    }
    assert api.client.get("/v1/tenants").json()["data"] == [whole | {"running": 1, "queued": 1}]
    assert api.client.get("/v1/tenants/nobody-yet").json()["max_running"] is None
    assert api.client.get(f"/v1/jobs/{job['id']}").json()["state"] == "running"


@pytest.mark.parametrize(
    ("limits", "param"),
    [
        ({"weight": 0}, "weight"),
        ({"max_running": -1}, "max_running"),
        ({"gpus": 1}, "gpus"),
        ({"weight": "NaN"}, "weight"),
    ],
)
def test_bad_limit_is_named(api: Api, limits: dict[str, Any], param: str) -> None:
    answer = api.client.put("/v1/tenants/lab", json=limits)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)


def test_tenants_are_for_admins(api: Api) -> None:
    made = api.client.post("/v1/keys", json={}).json()
    with api.client_with(made["key"]) as client:
        assert client.put("/v1/tenants/default", json={"weight": 100}).status_code == 403
        assert client.get("/v1/tenants").status_code == 403
