"""The exporter's promises: names and sentences from the table, closed labels, a bounded number of series."""

import asyncio
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from services.exporter import table
from services.exporter.collector import QueueCollector
from services.exporter.http import HttpMetrics, register_build_info
from services.jobqueue.snapshot import QueueSnapshot, RunningJob

SNAPSHOT = QueueSnapshot(
    depth={9: 2, 5: 7},
    oldest_job_age_seconds=12.5,
    jobs={"queued": 9, "running": 2, "failed": 1},
    submitted_total={"lstm": 11, "gru": 3},
    finished_total={("lstm", "failed", "poison"): 1, ("gru", "succeeded", "max_steps"): 4},
    running=(
        RunningJob("job-b", 1.5, 2.25, 0.75, 0.004, 51_000.0, 0.4),
        RunningJob("job-a"),
    ),
    train_characters_total={"lstm": 4096},
    train_steps_total={"lstm": 2},
    is_drained=True,
)


def scrape(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def queue_text(snapshot: QueueSnapshot | None) -> str:
    registry = CollectorRegistry()
    registry.register(QueueCollector(lambda: snapshot))
    return scrape(registry)


def test_snapshot_becomes_exactly_these_series() -> None:
    found = samples(queue_text(SNAPSHOT))
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("unroll_queue_up", ()): 1,
        ("unroll_drained", ()): 1,
        ("unroll_queue_oldest_job_age_seconds", ()): 12.5,
        **{("unroll_queue_depth", (("priority", str(p)),)): {9: 2, 5: 7}.get(p, 0) for p in range(10)},
        ("unroll_jobs_finished_total", (("cell", "lstm"), ("outcome", "failed"), ("reason", "poison"))): 1,
        ("unroll_jobs_finished_total", (("cell", "gru"), ("outcome", "succeeded"), ("reason", "max_steps"))): 4,
        ("unroll_train_jobs_without_series", ()): 0,
    }
    for state in ("queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"):
        expected["unroll_jobs", (("state", state),)] = SNAPSHOT.jobs.get(state, 0)
    for name, totals in {
        "unroll_jobs_submitted_total": {"lstm": 11, "gru": 3, "rnn": 0},
        "unroll_train_characters_total": {"lstm": 4096, "gru": 0, "rnn": 0},
        "unroll_train_steps_total": {"lstm": 2, "gru": 0, "rnn": 0},
    }.items():
        expected |= {(name, (("cell", cell),)): total for cell, total in totals.items()}
    for name, value in {
        "unroll_train_loss": 1.5,
        "unroll_train_validation_bits_per_character": 2.25,
        "unroll_train_gradient_norm": 0.75,
        "unroll_train_learning_rate": 0.004,
        "unroll_train_characters_per_second": 51_000.0,
        "unroll_train_progress_ratio": 0.4,
    }.items():
        expected[name, (("job_id", "job-b"),)] = value
    assert found == expected


def test_value_of_zero_is_a_value() -> None:
    found = samples(queue_text(SNAPSHOT._replace(running=(RunningJob("job-c", learning_rate=0.0),))))
    assert {key: value for key, value in found.items() if key[1] == (("job_id", "job-c"),)} == {
        ("unroll_train_learning_rate", (("job_id", "job-c"),)): 0.0
    }


def test_each_scrape_asks_for_a_new_snapshot() -> None:
    answers: Iterator[QueueSnapshot] = iter([SNAPSHOT, SNAPSHOT._replace(oldest_job_age_seconds=99)])
    registry = CollectorRegistry()
    registry.register(QueueCollector(lambda: next(answers)))
    first, second = samples(scrape(registry)), samples(scrape(registry))
    assert first["unroll_queue_oldest_job_age_seconds", ()] == 12.5
    assert second["unroll_queue_oldest_job_age_seconds", ()] == 99


def test_unreadable_queue_is_one_series_saying_so() -> None:
    assert samples(queue_text(None)) == {("unroll_queue_up", ()): 0}


def test_two_hundred_newest_jobs_have_series_and_the_rest_are_counted() -> None:
    running = tuple(RunningJob(f"job-{i}", 1, 2, 3, 4, 5, 0.5) for i in range(1003))
    found = samples(queue_text(SNAPSHOT._replace(running=running)))
    jobs = {labels[0][1] for (name, labels) in found if name == "unroll_train_loss"}
    assert jobs == {f"job-{i}" for i in range(200)}
    assert found["unroll_train_jobs_without_series", ()] == 803
    assert len(found) < 5000


def test_hostile_job_id_makes_no_other_series() -> None:
    evil = '"} 1\nevil 1'
    text = queue_text(SNAPSHOT._replace(running=(RunningJob(evil, train_loss=1.0),)))
    assert ("unroll_train_loss", (("job_id", evil),)) in samples(text)
    assert not any(line.startswith("evil") for line in text.splitlines())


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

    server.mount("/static", StaticFiles(directory=Path(table.__file__).parent), name="static")
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


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/v1/inner/jobs/secret", ("GET", "/v1/inner/jobs/{job_id}", "2xx")),
        ("POST", "/v1/inner/jobs/secret", ("POST", "/v1/inner/jobs/{job_id}", "4xx")),
        ("GET", "/models/secret/secret", ("GET", "/models/{model}", "2xx")),
        ("GET", "/v1/inner/broken", ("GET", "/v1/inner/broken", "5xx")),
        ("GET", "/secret", ("GET", "unmatched", "4xx")),
        ("GET", "/static/http.py", ("GET", "static", "2xx")),
        ("GET", "/static/secret", ("GET", "static", "4xx")),
        ("SECRET", "/secret", ("OTHER", "unmatched", "4xx")),
    ],
)
def test_request_is_counted_under_its_template_and_never_its_path(
    method: str, path: str, labels: tuple[str, str, str]
) -> None:
    text = requests((method, path))
    counted = {key: value for key, value in samples(text).items() if key[0] == "unroll_http_requests_total"}
    names = tuple(sorted(zip(("method", "route", "status_class"), labels, strict=True)))
    assert counted == {("unroll_http_requests_total", names): 1}
    assert "secret" not in text.lower()


def test_handler_that_dies_unanswered_counts_as_a_server_error() -> None:
    async def dies(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("dies")

    registry = CollectorRegistry()

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(HttpMetrics(dies, registry=registry))) as client:
            with pytest.raises(RuntimeError, match="dies"):
                await client.get("http://unroll/secret")

    asyncio.run(run())
    labels = (("method", "GET"), ("route", "unmatched"), ("status_class", "5xx"))
    assert samples(scrape(registry))["unroll_http_requests_total", labels] == 1


def test_duration_runs_to_the_end_of_an_answer_but_to_the_start_of_a_stream() -> None:
    plain = samples(requests(("GET", "/v1/inner/jobs/a"), clock=iter([10.0, 13.0]).__next__))
    stream = samples(requests(("GET", "/v1/inner/jobs/a/events"), clock=iter([10.0, 12.0]).__next__))
    name = "unroll_http_request_duration_seconds_sum"
    assert plain[name, (("method", "GET"), ("route", "/v1/inner/jobs/{job_id}"))] == 3.0
    assert stream[name, (("method", "GET"), ("route", "/v1/inner/jobs/{job_id}/events"))] == 2.0


def test_build_info_names_version_and_python() -> None:
    registry = CollectorRegistry()
    register_build_info(registry, version="1.2.3")
    labels = (("python", platform.python_version()), ("version", "1.2.3"))
    assert samples(scrape(registry))["unroll_build_info", labels] == 1


def test_every_metric_is_declared_once_with_a_sentence() -> None:
    names = [metric.name for metric in table.METRICS]
    assert len(names) == len(set(names)) == 19
    for metric in table.METRICS:
        assert metric.name.startswith("unroll_")
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_every_exposed_family_stands_in_the_table() -> None:
    registry = CollectorRegistry()
    registry.register(QueueCollector(lambda: SNAPSHOT))
    HttpMetrics(app(), registry=registry)
    register_build_info(registry, version="1")
    exposed = {
        line.split(" ", 3)[2]: line.split(" ", 3)[3] for line in scrape(registry).splitlines() if "# HELP" in line
    }
    assert {name: text for name, text in exposed.items() if not name.endswith("_created")} == {
        metric.name: metric.help for metric in table.METRICS
    }
