"""The commands of docs/operations.md run as they stand there, on a service that is at work."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.running_service import Service

PAGE = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
TRAIN = {"max_steps": 1500, "validate_every_steps": 10_000, "checkpoint_every_steps": 100}
SAMPLE = {"prompt": "one two", "max_tokens": 60, "seed": 11, "temperature": 0.8}


def commands(heading: str) -> list[str]:
    """The shell commands under a heading of the page, block by block."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(commands: str, service: Service, folder: Path) -> None:
    environment = service.environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-euc", commands], env=environment, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def sample(api: httpx.Client, job: str) -> str:
    answer = api.post("/v1/completions", json={"model": job, **SAMPLE}).raise_for_status().json()
    text: str = answer["choices"][0]["text"]
    return text


def test_running_service_is_backed_up_drained_and_restored_as_the_page_says(
    service: Service, text: str, tmp_path: Path
) -> None:
    dataset = service.upload(text)
    model = service.ended(service.submit(dataset)["id"])["id"]
    key = service.api.post("/v1/keys", json={"scopes": ["read"]}).raise_for_status().json()["key"]
    written = sample(service.api, model)
    job = service.submit(dataset, train=TRAIN)["id"]
    service.stepped(job, 110)

    (back_up,) = commands("Back up")
    run(back_up, service, tmp_path)
    assert service.job(job)["state"] == "running", "a backup holds nobody up"

    drain, lift = commands("Drain")
    run(drain, service, tmp_path)
    record = service.job(job)
    assert (record["state"], record["queue"]["reason"]) == ("queued", "drained")
    assert "the service takes up no jobs" in service.api.get("/readyz").json()["checks"]["drain"]
    assert sample(service.api, model) == written
    run(lift, service, tmp_path)
    drained = service.ended(job, 180)
    reasons = [event["data"].get("reason") for event in service.events(job) if event["type"] == "state"]
    assert reasons[-3:] == ["drained", "claimed", "finished"]

    (restore,) = commands("Restore")
    (tmp_path / "old-home").mkdir()
    (tmp_path / "old-home" / "secret").write_bytes((service.home / "secret").read_bytes())
    run(restore, service, tmp_path)
    settings: dict[str, Any] = {"UNROLL_LEASE_SECONDS": "5"}
    restored = Service(tmp_path / "new-home", **settings)
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
