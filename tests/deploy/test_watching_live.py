"""A real Prometheus asks a real run: every metric is told, every rule has a value, every panel shows something."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scraping import Prometheus, scraping
from watching import asked_by_panels, recorded

from services.metrics import METRICS
from tests.running_service import TINY, Service, wait_for

pytestmark = pytest.mark.system

Program = Callable[[str], str]
PATIENCE_SECONDS = 30


_COMPLETIONS = 'unroll_http_request_duration_seconds_count{route="/v1/completions"}'


@pytest.fixture(scope="module")
def prometheus(
    service: Service, text: str, root: Path, program: Program, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has seen jobs, a sweep and completions come and go."""
    binary, folder = program("prometheus"), tmp_path_factory.mktemp("prometheus")
    with scraping(service, binary, root / "deploy" / "prometheus", folder) as prometheus:
        _use(service, text, prometheus)
        yield prometheus


def _use(service: Service, text: str, prometheus: Prometheus) -> None:
    """One of everything that happens to a service."""
    dataset = service.upload(text)
    clipping = {"gradient_clip_norm": 0.1, "validate_every_steps": 20, "max_steps": None, "max_seconds": 5}
    short = service.submit(dataset, train=clipping)
    sweep = {
        "spec": {"dataset": dataset, "model": TINY["model"], "train": {**TINY["train"], "max_steps": 5}},
        "parameters": {"train.learning_rate": {"values": [0.01, 0.02]}},
        "search": {"method": "grid"},
    }
    assert service.api.post("/v1/sweeps", json=sweep).status_code == 200
    service.ended(short["id"])
    for stream in (False, True, True):
        asked = {"model": short["id"], "prompt": "one", "max_tokens": 400, "stream": stream}
        assert service.api.post("/v1/completions", json=asked).status_code == 200
        # A route's series begins with its first request; only then can it rise.
        wait_for(lambda: prometheus.values(_COMPLETIONS), 30, lambda: _COMPLETIONS)
    wait_for(lambda: "running" not in _sweeps(service), 60, lambda: "the sweep to end")


def _sweeps(service: Service) -> list[str]:
    return [sweep["state"] for sweep in service.api.get("/v1/sweeps").json()["data"]]


def test_everything_that_is_declared_is_told_and_nothing_else(service: Service, prometheus: Prometheus) -> None:
    told = {
        job: dict(re.findall(r"^# TYPE (unroll_\S+) (\S+)$", _metrics(service, prometheus, job), re.MULTILINE))
        for job in ("app", "sampler", "dispatcher")
    }
    for job, families in told.items():
        declared = {m.name: m.kind for m in METRICS if m.teller in (job, "each process")}
        declared.pop("unroll_sampler_replicas", None)  # which a front of Ray Serve tells
        assert families == declared


@pytest.mark.parametrize("job", ["app", "sampler", "dispatcher"])
def test_promtool_has_nothing_to_say_against_metrics(
    service: Service, prometheus: Prometheus, program: Program, job: str
) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=_metrics(service, prometheus, job),
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_panel_shows_something(root: Path, prometheus: Prometheus) -> None:
    _until_all_have_values(prometheus, asked_by_panels(root))


def test_every_recording_rule_has_a_value(root: Path, prometheus: Prometheus) -> None:
    _until_all_have_values(prometheus, {name: name for name in recorded(root)})


def test_every_rule_is_evaluated_without_a_fault_and_no_alert_fires_in_a_healthy_run(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.ask("/rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 30
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def _until_all_have_values(prometheus: Prometheus, expressions: dict[str, str]) -> None:
    empty = dict(expressions)

    def none_is_empty() -> bool:
        for name, expression in list(empty.items()):
            if prometheus.values(expression):
                del empty[name]
        return not empty

    wait_for(none_is_empty, PATIENCE_SECONDS, lambda: f"values of {empty}")


def _metrics(service: Service, prometheus: Prometheus, job: str) -> str:
    answer: Any = service.api.get(f"{prometheus.urls[job]}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return str(answer.text)
