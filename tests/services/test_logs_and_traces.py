"""What the server says of itself: log lines with ids and without secrets, traces from the request to the worker."""

import json
import subprocess
import sys
from typing import Any

import pytest
from api_service import Api
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.jobqueue import keys
from services.logs import hide_secrets
from services.traces import export_to, present_traceparent, span


def lines(code: str) -> list[dict[str, Any]]:
    """What a process of the server that runs `code` writes to its log."""
    start = "import logging, structlog; from services.logs import configure_logs; configure_logs()\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_logger_writes_one_line_of_json() -> None:
    first, second = lines(
        "structlog.get_logger('ours').warning('an\\nevent \\x1b[2J \\u202e', path='/v1\\r\\n/jobs')\n"
        "logging.getLogger('theirs').error('of %s: %d', 'ray', 3)"
    )
    assert (first["event"], first["path"], first["level"]) == ("an\nevent \x1b[2J \u202e", "/v1\r\n/jobs", "warning")
    assert (second["event"], second["logger"], second["level"]) == ("of ray: 3", "theirs", "error")


def test_line_says_whose_job_it_is_about() -> None:
    inside, outside = lines(
        "with structlog.contextvars.bound_contextvars(job_id='job-1', epoch=2):\n"
        "    logging.getLogger('workers.trainer').warning('slow')\n"
        "logging.getLogger('workers.trainer').warning('idle')"
    )
    assert (inside["job_id"], inside["epoch"]) == ("job-1", 2)
    assert "job_id" not in outside


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("key unroll-0123456789abcdef0123 refused", "key [hidden] refused"),
        ("authorization: Bearer abc.def-g", "authorization: [hidden]"),
        ("redis://user:word@host:6379/0 away", "redis://[hidden]@host:6379/0 away"),
        ("whsec_c2VjcmV0IHNlY3JldA== used", "[hidden] used"),
        ("unroll up and https://host/path@x", "unroll up and https://host/path@x"),
    ],
)
def test_secrets_do_not_leave(said: str, left: str) -> None:
    assert hide_secrets(None, "info", {"event": said, "n": 1, "api_key": "x"}) == {
        "event": left,
        "n": 1,
        "api_key": "[hidden]",
    }


def test_exception_hides_secrets_too() -> None:
    (line,) = lines(
        "try:\n    raise ValueError('could not use unroll-0123456789abcdef0123')\n"
        "except ValueError:\n    logging.getLogger('x').exception('fault')"
    )
    assert "[hidden]" in line["exception"]
    assert "0123456789abcdef" not in json.dumps(line)


def test_request_job_and_run_are_one_trace(api: Api) -> None:
    exporter = InMemorySpanExporter()
    provider = export_to("tests", exporter)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    asked = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    dataset = api.upload()["id"]
    body = {"dataset": dataset, "model": {"hidden_size": 4}, "train": {"tbptt_steps": 5, "batch_size": 3}}
    job = api.client.post("/v1/jobs", json=body, headers={"traceparent": asked}).json()
    held = api.claim().claim
    assert held.traceparent == api.scripts.redis.hget(keys.job(job["id"]), "traceparent")
    with span("job.run", held.traceparent, {"job_id": held.job}):
        assert present_traceparent().split("-")[1] == asked.split("-")[1]
    spans = exporter.get_finished_spans()
    run = next(found for found in spans if found.name == "job.run")
    ours = {found.context.span_id: found.name for found in spans if found.context.trace_id == run.context.trace_id}
    assert trace.format_trace_id(run.context.trace_id) == asked.split("-")[1]
    assert "POST /v1/jobs" in ours.values()
    assert run.parent is not None
    assert run.parent.span_id in ours
    assert run.attributes == {"job_id": job["id"]}
