"""The page of operations, read step by step on a service that is at work."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.docs.reader import Reader
from tests.running_service import Service

# A page is read whole by the first test that asks for it.
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

TRAIN = {"max_steps": 1500, "validate_every_steps": 10_000, "checkpoint_every_steps": 100}
SAMPLE = {"prompt": "one two", "max_tokens": 60, "seed": 11, "temperature": 0.8}


def sample(api: httpx.Client, job: str) -> str:
    answer = api.post("/v1/completions", json={"model": job, **SAMPLE}).raise_for_status().json()
    text: str = answer["choices"][0]["text"]
    return text


def test_running_service_is_backed_up_drained_and_restored_as_the_page_says(
    service: Service, text: str, reader_of: Callable[[str], Reader], tmp_path: Path
) -> None:
    dataset = service.upload(text)
    model = service.ended(service.submit(dataset)["id"])["id"]
    key = service.api.post("/v1/keys", json={"scopes": ["read"]}).raise_for_status().json()["key"]
    written = sample(service.api, model)
    job = service.submit(dataset, train=TRAIN)["id"]
    service.stepped(job, 110)

    reader = reader_of("docs/how-to/operations.md")
    reader.follow(reader.page.section("Back up"))
    assert service.job(job)["state"] == "running", "a backup holds nobody up"

    drain, lift = reader.page.section("Drain: before anything is taken down")
    reader.follow([drain])
    record = service.job(job)
    assert (record["state"], record["queue"]["reason"]) == ("queued", "drained")
    assert "the service takes up no jobs" in service.api.get("/readyz").json()["checks"]["drain"]
    assert sample(service.api, model) == written
    reader.follow([lift])
    drained = service.ended(job, 180)
    reasons = [event["data"].get("reason") for event in service.events(job) if event["type"] == "state"]
    assert reasons[-3:] == ["drained", "claimed", "finished"]

    (tmp_path / "old-home").mkdir()
    (tmp_path / "old-home" / "secret").write_bytes((service.home / "secret").read_bytes())
    reader.follow(reader.page.section("Restore"))
    assert reader.left == []
    restored = Service(tmp_path / "new-home", UNROLL_LEASE_SECONDS="5")
    try:
        restored.start()
        ended = restored.ended(job, 180)
        assert ended["parameters_sha256"] == drained["parameters_sha256"], "wherever either of them was stopped"
        told = [event["data"].get("reason") for event in restored.events(job) if event["type"] == "state"]
        assert told == ["submitted", "claimed", "restored", "claimed", "finished"]
        assert "resumed at step" in restored.api.get(f"/v1/jobs/{job}/logs").text
        assert sample(restored.api, model) == written
        known = {"headers": {"authorization": f"Bearer {key}"}}
        listed = restored.api.get("/v1/jobs", **known).raise_for_status().json()["data"]
        assert {job, model} <= {record["id"] for record in listed}
    finally:
        restored.stop()
