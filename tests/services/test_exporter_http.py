"""Requests as the exporter counts them: under their templates, to the end of an answer, and never under their paths."""

import asyncio
import re

import httpx
import pytest
from prometheus_client import CollectorRegistry
from scrapes import requests, samples, scrape
from starlette.types import Receive, Scope, Send

from services.exporter.http import HttpMetrics
from services.metrics import web


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


def test_requests_in_progress_are_those_that_have_no_end_yet() -> None:
    registry = CollectorRegistry()
    seen: list[float] = []

    async def looks(_scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(samples(scrape(registry))["unroll_http_requests_in_progress", ()])

    wrapped = HttpMetrics(looks, registry=registry)
    asyncio.run(wrapped({"type": "http", "method": "GET"}, None, None))  # type: ignore[arg-type]
    assert seen == [1.0]
    assert samples(scrape(registry))["unroll_http_requests_in_progress", ()] == 0.0


def test_counter_is_told_without_a_second_series_that_says_when_it_began() -> None:
    told = {metric.name: metric.kind for metric in (web.HTTP_REQUESTS, web.HTTP_REQUEST_DURATION, web.HTTP_IN_PROGRESS)}
    assert dict(re.findall(r"^# TYPE (\S+) (\S+)$", requests(("GET", "/secret")), re.MULTILINE)) == told
