"""A queue as the exporter finds it, an app whose requests it counts, and what a scrape tells of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.staticfiles import StaticFiles

from services.exporter import http
from services.exporter.http import HttpMetrics
from services.jobqueue.memory import Memory
from services.jobqueue.snapshot import QueueSnapshot, RedisState, RunningJob
from services.metrics import queue
from services.metrics.registry import HistogramTotals

SNAPSHOT = QueueSnapshot(
    depth={9: 2, 5: 7},
    oldest_job_age_seconds=12.5,
    jobs={"queued": 9, "running": 2, "failed": 1},
    running=(
        RunningJob("job-b", 1.5, 2.25, 0.75, 0.004, 51_000.0, 0.4),
        RunningJob("job-a"),
    ),
    totals={
        "submitted": {("lstm",): 11, ("gru",): 3},
        "finished": {("lstm", "failed", "poison"): 1, ("gru", "succeeded", "finished"): 4},
        "failed": {("lstm", "non_finite_loss"): 2, ("gru", "io_error"): 5},
        "lost": {("worker_lost",): 3},
        "characters": {("lstm",): 4096},
        "steps": {("lstm",): 2},
        "clipped": {("rnn",): 6},
        "storage_faults": {("unavailable",): 8},
        "sweeps": {("succeeded",): 7},
    },
    histograms={
        queue.JOB_ATTEMPTS: {"": HistogramTotals((4, 3, 0, 0, 0, 1), 22.0)},
        queue.JOB_TIME_TO_FIRST_STEP: {"cold": HistogramTotals((0,) * 10 + (1,), 400.0)},
    },
    seats={"cpu": 13, "gpu": 0},
    workers_at_work=5,
    sweeps_running=2,
    stored_bytes=7_000,
    webhooks_waiting=1,
    redis=RedisState(Memory(1_000, 4_000), False, 17, 90_000),
    is_drained=True,
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def app() -> FastAPI:
    inner, outer = APIRouter(), APIRouter(prefix="/v1")

    @inner.get("/jobs/{job_id}")
    def job(job_id: str) -> str:
        return job_id

    @inner.get("/broken")
    def broken() -> str:
        raise RuntimeError("broken")

    @inner.get("/jobs/{job_id}/events")
    def events(job_id: str) -> StreamingResponse:
        return StreamingResponse(iter([f"data: {job_id}\n\n"]), media_type="text/event-stream")

    outer.include_router(inner, prefix="/inner")
    server = FastAPI()
    server.include_router(outer)

    @server.get("/models/{model:path}")
    def model(model: str) -> str:
        return model

    server.mount("/static", StaticFiles(directory=Path(http.__file__).parent), name="static")
    return server


def requests(*asked: tuple[str, str], clock: Callable[[], float] = lambda: 0.0) -> str:
    registry = CollectorRegistry()
    wrapped = HttpMetrics(app(), registry=registry, clock=clock)

    async def run() -> None:
        transport = httpx.ASGITransport(wrapped, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://unroll") as client:
            for method, path in asked:
                await client.request(method, path)

    asyncio.run(run())
    return scrape(registry)
