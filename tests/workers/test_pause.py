"""A job that stops to go on later: paused by its owner, or asked to make place."""

from typing import Any

import pytest

from tests.running_service import Service, wait_for

pytestmark = pytest.mark.system

TRAIN = {"max_steps": 400, "validate_every_steps": 150, "checkpoint_every_steps": 1000, "precision": "fp32"}


def reaches(service: Service, job_id: str, state: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        record = service.job(job_id)
        return record if record["state"] == state else None

    found: dict[str, Any] = wait_for(look, 60, lambda: f"{job_id} to be {state}, is {service.job(job_id)['state']}")
    return found


def steer(service: Service, job_id: str, how: str) -> dict[str, Any]:
    answer = service.api.post(f"/v1/jobs/{job_id}/{how}")
    assert answer.status_code == 200, answer.text
    record: dict[str, Any] = answer.json()
    return record


def test_paused_job_gives_its_worker_back_and_goes_on_to_the_same_parameters(service: Service, text: str) -> None:
    dataset = service.upload(text)
    undisturbed = service.ended(service.submit(dataset, train=TRAIN)["id"])
    job = service.submit(dataset, train=TRAIN)["id"]
    service.stepped(job, 20)
    assert steer(service, job, "pause")["state"] in ("pausing", "paused")
    paused = reaches(service, job, "paused")
    step = service.api.get(f"/v1/jobs/{job}/checkpoints").json()["data"][0]["step"]
    assert 20 <= step < 400
    other = service.ended(service.submit(dataset, train={"max_steps": 5})["id"])
    assert other["state"] == "succeeded", "the worker is free while the job is paused"
    assert service.job(job)["state"] == "paused"
    assert paused["finished_at"] is None
    assert steer(service, job, "resume")["state"] in ("queued", "running")
    record = service.ended(job)
    assert record["state"] == "succeeded"
    assert record["parameters_sha256"] == undisturbed["parameters_sha256"]
    assert f"resumed at step {step}" in service.api.get(f"/v1/jobs/{job}/logs").text


def test_urgent_job_takes_the_worker_and_the_other_goes_on_exactly(service: Service, text: str) -> None:
    dataset = service.upload(text)
    train = TRAIN | {"max_steps": 2000}  # places are looked at once a second
    undisturbed = service.ended(service.submit(dataset, train=train)["id"])
    modest = service.submit(dataset, train=train, priority=1)["id"]
    service.stepped(modest, 20)
    urgent = service.submit(dataset, train={"max_steps": 5}, priority=8)["id"]
    assert service.ended(urgent)["state"] == "succeeded"
    record = service.ended(modest)
    assert record["started_at"] < service.job(urgent)["finished_at"] < record["finished_at"]
    assert (record["attempt"], record["parameters_sha256"]) == (2, undisturbed["parameters_sha256"])
    reasons = [event["data"].get("reason") for event in service.events(modest) if event["type"] == "state"]
    assert "preempted" in reasons


def test_retry_goes_on_from_the_last_checkpoint_as_if_it_had_never_ended(service: Service, text: str) -> None:
    dataset = service.upload(text)
    train = TRAIN | {"schedule": "constant", "checkpoint_every_steps": 50}
    whole = service.ended(service.submit(dataset, train=train | {"max_steps": 120})["id"])
    short = service.submit(dataset, train=train | {"max_steps": 70})["id"]
    assert service.ended(short)["state"] == "succeeded"
    answer = service.api.post(f"/v1/jobs/{short}/retry", json={"train": {"max_steps": 120}}).json()
    record = service.ended(answer["id"])
    assert (record["state"], record["spec"]["retry_of"]) == ("succeeded", short)
    assert "resumed at step 70" in service.api.get(f"/v1/jobs/{record['id']}/logs").text
    assert record["progress"]["step"] == 120
    assert record["parameters_sha256"] == whole["parameters_sha256"]
    assert record["best"]["step"] == 120
    model = service.api.post("/v1/completions", json={"model": record["id"], "prompt": "one", "max_tokens": 4})
    assert model.status_code == 200
