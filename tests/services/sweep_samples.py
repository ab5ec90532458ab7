"""A sweep, the one that moves it on, and trainers that report what a test says."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx
from api_service import SMALL_MODEL, SMALL_TRAIN, Api, Trained

from rnncore.errors import Cancelled
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.sweeps import Sweeps
from services.sweeps.sweeper import Sweeper

RATES = {"train.learning_rate": {"min": 1e-4, "max": 1e-1, "log": True}}


def body(api: Api, **changes: Any) -> dict[str, Any]:
    """What to POST: five random trials, two at once."""
    spec = {"dataset": api.upload()["id"], "model": SMALL_MODEL, "train": SMALL_TRAIN | {"validate_every_steps": 1}}
    asked = {"spec": spec, "parameters": RATES, "search": {"method": "random"}, "budget": {"max_trials": 5}}
    return asked | {"max_parallel": 2} | changes


def grid(path: str, *values: Any) -> dict[str, Any]:
    """Changes to `body`: a grid over one field."""
    return {"parameters": {path: {"values": values}}, "search": {"method": "grid"}, "budget": {}}


def create(api: Api, **changes: Any) -> dict[str, Any]:
    return good(api.client.post("/v1/sweeps", json=body(api, **changes)))


def good(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def show(api: Api, sweep: str) -> dict[str, Any]:
    return good(api.client.get(f"/v1/sweeps/{sweep}"))


def trials(api: Api, sweep: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = good(api.client.get(f"/v1/sweeps/{sweep}/trials"))["data"]
    return listed


def states(api: Api, sweep: str) -> list[str]:
    return [trial["state"] for trial in trials(api, sweep)]


def sweeper(api: Api) -> Sweeper:
    """A new one, that knows nothing of what others did; moves the sweeps on at each `step`."""
    api.scripts.redis.delete("{unroll}:sweeper")  # whoever led has died
    return Sweeper(api.settings, api.queue, Sweeps(api.scripts), api.storage)


def report(held: ClaimedJob, step: int, loss: float, **metrics: float) -> None:
    """What a trainer tells of a validation, and that it went on from there. Raises Cancelled where it was stopped."""
    scores = {"step": step, "validation_loss": loss, "metrics": metrics}
    held.write(fields={"progress": {"step": step}, "best": scores}, events=[("metrics", scores)])
    held.write(fields={"progress": {"step": step + 1}})


def train(api: Api, trained: Trained, losses: Sequence[float], step: Callable[[], None] = lambda: None) -> str:
    """Claims the next trial and reports `losses` at steps 1, 2, ...; answers `succeeded` or `cancelled`."""
    held = api.claim()
    try:
        for number, loss in enumerate(losses, 1):
            held.write()
            api.publish(held, trained, number, loss)
            report(held, number, loss)
            step()
        held.write()
    except Cancelled:
        held.finish("cancelled")
        return "cancelled"
    held.finish("succeeded", "0" * 64)
    return "succeeded"
