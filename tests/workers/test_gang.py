"""Jobs of two workers through the whole service: what befalls a rank, the dispatcher, and the job itself."""

import os
import re
import signal
from typing import Any

import psutil
import pytest

from tests.running_service import Service, running, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(500)]

# Dropout would draw masks of its own on each rank, and rounding errors grow from step to step.
MODEL = {"hidden_size": 128, "dropout": 0.0}
TRAIN = {"batch_size": 8, "tbptt_steps": 64, "max_steps": 200, "checkpoint_every_steps": 20, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def pair(text: str) -> Any:
    """A service of two trainers."""
    with running(UNROLL_TRAINERS="2") as service:
        yield service


def ranks(service: Service) -> set[int]:
    """Processes of the ranks that are there."""
    found = set()
    for process in service.family():
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def started(service: Service, job: str) -> dict[str, Any]:
    """The record once the ranks are there: their processes are made for the job, each imports torch."""
    return wait_for(
        lambda: record if (record := service.job(job))["placement"] else None, 150, lambda: f"{job}: {service.job(job)}"
    )


def losses(service: Service, job: str) -> dict[tuple[int, int], float]:
    """The mean loss from one step to another, as the history has it; where it was told depends on the time too."""
    rows = service.api.get(f"/v1/jobs/{job}/metrics").json()["data"]
    steps = [0, *(row["step"] for row in rows)]
    return {(begin, row["step"]): row["train_loss"] for begin, row in zip(steps, rows, strict=False)}


def test_gang_whose_second_rank_is_killed_in_mid_epoch_ends_as_one_worker_does(pair: Service, text: str) -> None:
    dataset = pair.upload(text)
    alone = pair.ended(pair.submit(dataset, model=MODEL, train=TRAIN)["id"])
    job = pair.submit(dataset, model=MODEL, train=TRAIN, resources={"num_workers": 2, "min_workers": 2})["id"]
    placement = started(pair, job)["placement"]
    pair.stepped(job, 50)
    assert (placement["workers"], placement["threads"]) == (2, 1)
    (second,) = ranks(pair) - {placement["pid"]}
    os.kill(second, signal.SIGKILL)
    record = pair.ended(job, 200)
    assert (record["state"], record["epoch"], record["error"]) == ("succeeded", 2, None)
    reasons = [event["data"].get("reason") for event in pair.events(job) if event["type"] == "state"]
    assert "worker_lost" in reasons
    assert re.search(r"resumed at step [1-9][02468]0?", pair.api.get(f"/v1/jobs/{job}/logs").text)
    expected, found = losses(pair, alone["id"]), losses(pair, job)
    common = found.keys() & expected.keys()
    assert len(common) > 15, "first steps, and most tens of later ones"
    assert max(end for _, end in common) == 200
    assert max(abs(found[steps] - expected[steps]) for steps in common) < 1e-5
    assert abs(record["best"]["validation_loss"] - alone["best"]["validation_loss"]) < 1e-5


def test_gang_outlives_the_dispatcher_keeps_its_seats_and_gives_them_back_when_cancelled(
    pair: Service, text: str
) -> None:
    dataset = pair.upload(text)
    job = pair.submit(dataset, train={"max_steps": 1_000_000}, resources={"num_workers": 2})["id"]
    started(pair, job)
    pair.stepped(job, 1)
    at_work = ranks(pair)
    assert len(at_work) == 2
    (dispatcher,) = [one for one in pair.family() if "workers.dispatcher" in " ".join(one.cmdline())]
    dispatcher.kill()
    log = pair.home / "logs" / "dispatcher.log"
    wait_for(lambda: log.read_text().count("dispatcher ready") == 2, 60, lambda: "another dispatcher")
    small = pair.submit(dataset, train={"max_steps": 5})["id"]
    step = pair.job(job)["progress"]["step"]
    pair.stepped(job, step + 100)
    waiting = pair.job(small)
    assert (waiting["state"], waiting["queue"]["reason"]) == ("queued", "no_free_worker")
    assert (pair.job(job)["epoch"], ranks(pair)) == (1, at_work)
    pair.api.post(f"/v1/jobs/{job}/cancel")
    assert pair.ended(job)["state"] == "cancelled"
    assert pair.ended(small)["state"] == "succeeded"
    wait_for(lambda: not ranks(pair), 30, lambda: "the ranks to end")


def test_elastic_gang_makes_place_goes_on_with_one_worker_and_then_again_with_two(pair: Service, text: str) -> None:
    dataset = pair.upload(text)
    train = TRAIN | {"batch_size": 16, "tbptt_steps": 128, "max_steps": 400, "validate_every_steps": 400}
    spec = {"model": MODEL | {"hidden_size": 192}, "train": train}
    alone = pair.ended(pair.submit(dataset, **spec)["id"], 200)
    job = pair.submit(dataset, **spec, priority=1, resources={"num_workers": 2, "min_workers": 1})["id"]
    of_both = started(pair, job)["placement"]
    pair.stepped(job, 20)
    urgent = pair.submit(dataset, train={"max_steps": 10_000_000}, priority=8)["id"]
    smaller = wait_for(
        lambda: record if (record := pair.job(job))["placement"] not in (None, of_both) else None,
        150,
        lambda: f"the gang to go on: {pair.job(job)}",
    )
    assert (smaller["epoch"], smaller["placement"]["workers"], pair.job(urgent)["state"]) == (2, 1, "running")
    pair.stepped(job, smaller["progress"]["step"] + 40)
    pair.api.post(f"/v1/jobs/{job}/pause").raise_for_status()
    wait_for(lambda: pair.job(job)["state"] == "paused", 60, lambda: f"a pause: {pair.job(job)}")
    pair.api.post(f"/v1/jobs/{urgent}/cancel").raise_for_status()
    assert pair.ended(urgent)["state"] == "cancelled"
    pair.api.post(f"/v1/jobs/{job}/resume").raise_for_status()
    record = pair.ended(job, 250)
    assert (record["state"], record["epoch"], record["placement"]["workers"]) == ("succeeded", 3, 2)
    reasons = [event["data"].get("reason") for event in pair.events(job) if event["type"] == "state"]
    # Pausing, and then paused.
    assert list(dict.fromkeys(reason for reason in reasons if reason in ("preempted", "paused"))) == [
        "preempted",
        "paused",
    ]
    resumed = [int(step) for step in re.findall(r"resumed at step (\d+)", pair.api.get(f"/v1/jobs/{job}/logs").text)]
    assert 20 <= resumed[0] < resumed[1] < 400
    assert abs(record["best"]["validation_loss"] - alone["best"]["validation_loss"]) < 1e-3
