"""Shares and quotas over HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, TEXT, Api, Trained


def test_limits_are_set_listed_and_felt(api: Api) -> None:
    dataset = api.upload()["id"]
    body = {"weight": 2.5, "max_running": 1, "max_gpus": 3, "max_queued": 1, "max_storage_bytes": 1 << 40}
    answer = api.client.put("/v1/tenants/default", json=body)
    whole = body | {"id": "default", "object": "tenant", "running": 0, "gpus": 0, "queued": 0}
    whole["stored_bytes"] = len(TEXT)
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
        ({"max_storage_bytes": -1}, "max_storage_bytes"),
    ],
)
def test_bad_limit_is_named(api: Api, limits: dict[str, Any], param: str) -> None:
    answer = api.client.put("/v1/tenants/lab", json=limits)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)


def refused(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (507, "insufficient_quota", "storage_quota_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    message: str = error["message"]
    return message


def test_tenant_stores_no_more_than_it_may(api: Api, trained: Trained) -> None:
    dataset = api.upload("first text " * 10)["id"]
    api.client.put("/v1/tenants/default", json={"max_storage_bytes": 300})
    api.upload("first text " * 10)
    assert "has 110 bytes in storage and sends 220 more, it may have 300; delete" in refused(
        api.client.post("/v1/datasets", content="other text " * 20)
    )

    def undeclared() -> Iterator[bytes]:
        yield b"other text " * 20

    assert "sends 220 more" in refused(api.client.post("/v1/datasets", content=undeclared()))
    assert len(api.stored()) == 1
    spec = {"model": SMALL_MODEL, "train": SMALL_TRAIN | {"tbptt_steps": 5}}
    api.submit(dataset, **spec)
    job = api.claim()
    size = api.publish(job, trained, 4).num_bytes
    assert size > 300
    assert api.client.get("/v1/usage").json()["stored_bytes"] == 110 + size, "what runs goes on"
    assert f"has {110 + size} bytes in storage, it may have 300" in refused(
        api.client.post("/v1/jobs", json={"dataset": dataset, **spec})
    )
    api.publish(job, trained, 4)
    api.publish(job, trained, 8)
    assert api.client.get("/v1/usage").json()["stored_bytes"] == 110 + 2 * size
    job.write(drop=[4])
    assert api.client.get("/v1/tenants/default").json()["stored_bytes"] == 110 + size
    api.publish(job, trained, 12)
    job.finish("succeeded", "0" * 64)
    api.client.delete(f"/v1/models/{job.claim.job}:step-8")
    assert api.client.get("/v1/usage").json()["stored_bytes"] == 110 + size
    api.client.delete(f"/v1/jobs/{job.claim.job}")
    assert api.client.get("/v1/usage").json()["stored_bytes"] == 110
    api.submit(dataset, **spec)
    with api.other_tenant() as other:
        assert other.get("/v1/usage").json()["stored_bytes"] == 0


def test_tenants_are_for_admins(api: Api) -> None:
    made = api.client.post("/v1/keys", json={}).json()
    with api.client_with(made["key"]) as client:
        assert client.put("/v1/tenants/default", json={"weight": 100}).status_code == 403
        assert client.get("/v1/tenants").status_code == 403
