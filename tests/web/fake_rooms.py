"""Shelves made by hand, and the routes of /v1 that the pages over them call."""

import math
import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from rnncore.corpus import TextSummary
from rnncore.sweep_spec import SweepSpec
from services.jobqueue.floor import Occupant, Worker
from services.jobqueue.line import JobInLine, Line
from services.jobqueue.records import Checkpoint, Dataset, JobState, Progress, QueuePlace
from services.jobqueue.sweeps import Sweep, Trial
from services.jobqueue.tenants import Tenant
from services.models.parameters import Tensor
from services.sweeps.report import SweepReport, report
from services.web.shelves import DatasetShelf, Models, ModelShelf, SweepShelf

TENANT = "tenant-1"
SWEEP = "sweep-0123456789abcdef"
DATASET = "ds-" + "0" * 32
NO_LINE = Line(waiting=[], running=[], paused=[], num_waiting=0, num_running=0)


class FakeShelves:
    """What a test puts there. `admins_saw` keeps for whom the shared things were asked."""

    def __init__(self) -> None:
        self.of_sweeps: list[SweepShelf] = []
        self.of_datasets: list[DatasetShelf] = []
        self.of_models: list[ModelShelf] = []
        self.of_line = NO_LINE
        self.of_shares = [Tenant(id=TENANT)]
        self.of_workers: list[Worker] = []
        self.told_drained = ""
        self.seen: list[str | None] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.refusals: dict[str, tuple[int, str, str | None]] = {}

    def sweeps(self, tenant: str, after: str | None) -> tuple[list[SweepReport], bool]:
        return [shelf.report for shelf in self.of_sweeps if tenant == TENANT], False

    def sweep(self, tenant: str, sweep_id: str) -> SweepShelf | None:
        return next((shelf for shelf in self.of_sweeps if shelf.report.id == sweep_id and tenant == TENANT), None)

    def datasets(self, tenant: str, after: str | None) -> tuple[list[Dataset], bool]:
        return [shelf.dataset for shelf in self.of_datasets if tenant == TENANT], False

    def dataset(self, tenant: str, dataset_id: str) -> DatasetShelf | None:
        return next((shelf for shelf in self.of_datasets if shelf.dataset.id == dataset_id and tenant == TENANT), None)

    def models(self, tenant: str, after: str | None) -> Models:
        aliases = [shelf for shelf in self.of_models if shelf.alias_of]
        return Models(aliases, [shelf for shelf in self.of_models if not shelf.alias_of], None)

    def model(self, tenant: str, model_id: str) -> ModelShelf | None:
        return next((shelf for shelf in self.of_models if shelf.id == model_id and tenant == TENANT), None)

    def line(self, seen: str | None) -> Line:
        self.seen.append(seen)
        return self.of_line

    def shares(self, tenant: str, seen: str | None) -> list[Tenant]:
        return self.of_shares

    def workers(self, seen: str | None) -> list[Worker]:
        return self.of_workers

    def drained(self) -> str:
        return self.told_drained


def sweep_spec(**changes: Any) -> SweepSpec:
    """Learning rate and cell, twelve trials, halving."""
    asked: dict[str, Any] = {
        "name": "rates",
        "spec": {"dataset": DATASET, "train": {"max_steps": 900, "validate_every_steps": 100}},
        "parameters": {
            "train.learning_rate": {"min": 0.0005, "max": 0.05, "log": True},
            "model.cell": {"values": ["lstm", "gru"]},
        },
        "search": {"method": "tpe"},
        "budget": {"max_trials": 12},
        "early_stopping": {"min_steps": 100},
    }
    return SweepSpec.model_validate(asked | changes)


def trial(number: int, value: float | None = None, **changes: Any) -> Trial:
    """One at work or through, whose values follow from its number."""
    fields: dict[str, Any] = {
        "number": number,
        "point": number,
        "parameters": {
            "train.learning_rate": 0.0005 * 10 ** (2 * ((number * 5) % 12) / 12),
            "model.cell": ("lstm", "gru")[number % 2],
        },
        "job": f"job-{number:016x}",
        "state": "running" if value is None else "succeeded",
        "value": value,
        "step": 900,
        "worker_seconds": 10.0 + number,
    }
    return Trial(**(fields | changes))


def sweep_shelf(trials: list[Trial], spec: SweepSpec | None = None, **changes: Any) -> SweepShelf:
    fields: dict[str, Any] = {"id": SWEEP, "state": "running", "spec": spec or sweep_spec(), "tenant": TENANT}
    sweep = Sweep(**({**fields, "created_at": time.time() - 400} | changes))
    return SweepShelf(report(sweep, trials), trials)


def dataset_shelf(dataset_id: str = DATASET, *, preview: str = "First Citizen:\n", **changes: Any) -> DatasetShelf:
    fields: dict[str, Any] = {
        "id": dataset_id,
        "kind": "text",
        "name": "shakespeare.txt",
        "tenant": TENANT,
        "created_at": time.time() - 7200,
        "num_bytes": 1_115_394,
        "sha256": "5" * 64,
        "summary": TextSummary(
            vocabulary="characters", num_symbols=1_115_394, symbols="Fi \nx\u202e", offsets=tuple(range(6))
        ),
    }
    return DatasetShelf(Dataset(**(fields | changes)), preview, [])


def model_shelf(model_id: str, job: Any, *, alias_of: str | None = None, **changes: Any) -> ModelShelf:
    kept = [
        Checkpoint(
            model=f"{job.id}:step-{step}",
            job=job.id,
            step=step,
            epoch=1,
            path="p",
            created_at=time.time() - 600,
            validation_loss=1.5 - step / 4000,
            bits_per_character=(1.5 - step / 4000) / math.log(2),
            num_bytes=1_234_567,
            parameters_sha256="7" * 64,
            is_best=step == 800,
            is_latest=step == 800,
        )
        for step in (800, 400)
    ]
    tensors = [Tensor("embedding.weight", (65, 128)), Tensor("head.bias", (65,))]
    return ModelShelf(model_id, alias_of, kept[0], job, changes.pop("aliases", []), kept, tensors)


def in_line(job_id: str, state: JobState = JobState.QUEUED, **changes: Any) -> JobInLine:
    fields: dict[str, Any] = {
        "id": job_id,
        "tenant": TENANT,
        "name": None,
        "state": state,
        "priority": 5,
        "num_workers": 1,
        "created_at": time.time() - 90,
        "started_at": None if state == JobState.QUEUED else time.time() - 60,
        "progress": Progress() if state == JobState.QUEUED else Progress(step=10, ratio=0.25, eta_seconds=200),
        "queue": QueuePlace(position=1, reason="no_free_worker") if state == JobState.QUEUED else None,
        "placement": None,
    }
    return JobInLine(**(fields | changes))


def worker(name: str, *jobs: Occupant, host: str = "host-1", **changes: Any) -> Worker:
    fields: dict[str, Any] = {
        "id": name,
        "node": ("a" if host == "host-1" else "b") * 56,
        "host": host,
        "kind": "cpu",
        "threads": 2,
        "memory_bytes": 8_000_000_000,
        "state": "busy" if jobs else "idle",
        "jobs": list(jobs),
        "num_jobs": len(jobs),
        "utilisation": 0.75 if jobs else 0.1,
    }
    return Worker(**(fields | changes))


def add_room_routes(app: FastAPI, shelves: FakeShelves) -> None:
    """Everything that changes something answers with a friendly object, or as `refusals` say for its path."""

    @app.api_route("/v1/{path:path}", methods=["POST", "PUT", "DELETE"])
    async def changed(path: str, request: Request) -> Response:
        raw = await request.body()
        is_json = request.headers.get("content-type") == "application/json"
        shelves.asked.append((request.method, request.url.path, await request.json() if is_json else raw.decode()))
        if path in shelves.refusals:
            status, message, param = shelves.refusals[path]
            error = {"message": message, "type": "x", "param": param, "code": None}
            return JSONResponse({"error": error}, status)
        if path == "sweeps":
            return JSONResponse({"id": SWEEP, "object": "sweep"})
        if path == "datasets":
            return JSONResponse({"id": DATASET, "object": "dataset"})
        if request.method == "PUT":
            asked = await request.json()
            return JSONResponse({"id": path.rpartition("/")[2], "alias_of": asked["model"]})
        return JSONResponse({"id": path})
