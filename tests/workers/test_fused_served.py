"""Fused sweeps on the running service: chosen by it, equal to what they are apart, and none lost with its trainer."""

import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from services.jobqueue.audit import audit
from services.jobqueue.scripts import RedisScripts
from services.settings import embedded_socket, private_value
from tests.running_service import TINY, Service, running, wait_for

MINUTES = 180.0


@pytest.fixture(scope="module")
def pair() -> Iterator[Service]:
    """A service with two trainers of one thread."""
    with running(UNROLL_TRAINERS="2", OMP_NUM_THREADS="1") as service:
        # Trials are shared out over the trainers that are free: both are to be.
        wait_for(lambda: states(service) == ["idle", "idle"], MINUTES, lambda: str(states(service)))
        yield service


def states(service: Service) -> list[str]:
    return [worker["state"] for worker in service.api.get("/v1/workers").raise_for_status().json()["data"]]


@pytest.fixture(scope="module")
def dataset(pair: Service, text: str) -> str:
    return pair.upload(text)


def sweep(service: Service, dataset: str, rates: list[float], **changes: Any) -> str:
    train = TINY["train"] | {"validate_every_steps": 60, "checkpoint_every_steps": 60} | changes.pop("train", {})
    model = TINY["model"] | {"dropout": 0.2}
    asked = {
        "spec": {"dataset": dataset, "model": model, "train": train},
        "parameters": {"train.learning_rate": {"values": rates}},
        "search": {"method": "grid"},
        "replicates": 2,
        **changes,
    }
    answer = service.api.post("/v1/sweeps", json=asked)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def trials(service: Service, sweep: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = service.api.get(f"/v1/sweeps/{sweep}/trials").raise_for_status().json()["data"]
    return listed


def records(service: Service, sweep: str) -> list[dict[str, Any]]:
    """The jobs of its trials, once it has ended."""

    def is_over() -> bool:
        return bool(service.api.get(f"/v1/sweeps/{sweep}").json()["state"] != "running")

    wait_for(is_over, MINUTES, lambda: f"the sweep to end: {trials(service, sweep)}")
    return [service.job(trial["job"]) for trial in trials(service, sweep)]


def test_sweep_is_fused_unless_it_says_never_and_scores_as_it_does_then(pair: Service, dataset: str) -> None:
    rates = [0.003, 0.01, 0.02, 0.03]
    fused = records(pair, sweep(pair, dataset, rates))
    apart = records(pair, sweep(pair, dataset, rates, fuse="never"))
    assert [record["state"] for record in fused + apart] == ["succeeded"] * 16
    assert [len(record["placement"]["fused_with"]) for record in fused] == [3] * 8
    assert [record["placement"]["fused_with"] for record in apart] == [[]] * 8
    assert len({record["placement"]["pid"] for record in fused}) == 2
    for one, other in zip(fused, apart, strict=True):
        assert one["spec"] == other["spec"] | {"name": one["spec"]["name"]}
        assert one["best"]["validation_loss"] == pytest.approx(other["best"]["validation_loss"], abs=1e-3)


def test_trials_of_a_killed_trainer_end_and_none_is_lost_or_made_twice(pair: Service, dataset: str) -> None:
    asked = sweep(pair, dataset, [0.003, 0.01], train={"max_steps": 1500, "checkpoint_every_steps": 300})

    def at_work() -> list[dict[str, Any]]:
        found = [pair.job(trial["job"]) for trial in trials(pair, asked)]
        return found if len(found) == 4 and all(job["progress"]["step"] >= 400 for job in found) else []

    before = wait_for(at_work, MINUTES, lambda: f"all trials to run: {trials(pair, asked)}")
    assert [len(job["placement"]["fused_with"]) for job in before] == [1] * 4
    pid = before[0]["placement"]["pid"]
    psutil.Process(pid).send_signal(signal.SIGKILL)
    after = records(pair, asked)
    assert [job["id"] for job in after] == [job["id"] for job in before]
    assert [job["state"] for job in after] == ["succeeded"] * 4
    was_killed = [job["placement"]["pid"] == pid for job in before]
    assert [job["attempt"] for job in after] == [2 if killed else 1 for killed in was_killed]
    assert was_killed.count(True) == 2
    for job, killed in zip(after, was_killed, strict=True):
        assert len(job["placement"]["fused_with"]) == (0 if killed else 1)
        rows = pair.api.get(f"/v1/jobs/{job['id']}/metrics").json()["data"]
        steps = [row["step"] for row in rows]
        assert (steps, steps[-1]) == (sorted(set(steps)), 1500)
    scripts = RedisScripts(f"unix://{embedded_socket(pair.home)}", private_value(pair.home / "secret").encode())
    assert audit(scripts) == []
    scripts.close()
