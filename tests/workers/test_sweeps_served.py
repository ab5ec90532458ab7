"""A sweep on the running service, whose dispatcher is killed in the middle: no trial is lost, none is made twice."""

from typing import Any

from tests.running_service import TINY, Service, wait_for

NUM_TRIALS = 7
ENDED = ("succeeded", "failed", "cancelled")


def ask(service: Service, dataset: str) -> str:
    train = TINY["train"] | {"max_steps": 60, "validate_every_steps": 20, "checkpoint_every_steps": 60}
    answer = service.api.post(
        "/v1/sweeps",
        json={
            "spec": {"dataset": dataset, "model": TINY["model"], "train": train},
            "parameters": {
                "train.learning_rate": {"min": 1e-5, "max": 1e-1, "log": True},
                "model.cell": {"values": ["rnn", "gru"]},
            },
            "search": {"method": "tpe", "seed": 1},
            "budget": {"max_trials": NUM_TRIALS},
            "max_parallel": 2,
            "early_stopping": {"min_steps": 20},
            "promote_to": "best-of-sweep",
        },
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_sweep_survives_the_death_of_the_dispatcher(service: Service, text: str) -> None:
    sweep = ask(service, service.upload(text))

    def told() -> dict[str, Any]:
        found: dict[str, Any] = service.api.get(f"/v1/sweeps/{sweep}").raise_for_status().json()
        return found

    def trials() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = service.api.get(f"/v1/sweeps/{sweep}/trials").raise_for_status().json()["data"]
        return found

    wait_for(lambda: sum(one["state"] in ENDED for one in trials()) >= 2, 120, lambda: f"two ends: {told()}")
    (dispatcher,) = [process for process in service.family() if "workers.dispatcher" in process.cmdline()]
    dispatcher.kill()
    dispatcher.wait(10)
    known = trials()
    assert len(known) < NUM_TRIALS
    wait_for(lambda: told()["state"] != "running", 150, lambda: f"the sweep to end: {told()}")
    report, found = told(), trials()
    assert report["state"] == "succeeded", report
    assert [trial["number"] for trial in found] == list(range(NUM_TRIALS))
    assert [(one["job"], one["parameters"]) for one in found[: len(known)]] == [
        (one["job"], one["parameters"]) for one in known
    ]
    assert len({trial["job"] for trial in found}) == NUM_TRIALS
    listed = service.api.get("/v1/jobs", params={"limit": 1000}).json()["data"]
    assert {job["id"] for job in listed if (job["trial"] or {}).get("sweep") == sweep} == {one["job"] for one in found}
    ends = [(trial["state"], trial["stopped_early"]) for trial in found]
    assert set(ends) <= {("succeeded", None), ("cancelled", "halving")}
    assert ("cancelled", "halving") in ends
    best = min(found, key=lambda trial: trial["value"])
    assert report["best"]["job"] == best["job"]
    assert service.api.get("/v1/models/best-of-sweep").json()["alias_of"] == best["job"]
    stopped = next(trial for trial in found if trial["stopped_early"])
    assert service.api.post("/v1/completions", json={"model": stopped["job"], "max_tokens": 5}).status_code == 200
