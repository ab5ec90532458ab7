"""The commands of docker-compose.yml, run as they stand: each gets healthy, and together they train and write."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
import yaml
from containers import Containers

from deploy.make_secrets import make_secrets
from services.processes import Child

pytestmark = pytest.mark.system

# In the order of `depends_on`; grafana is no program of Debian's.
STARTED = ("redis", "ray-head", "worker-cpu", "dispatcher", "sampler", "app")
HEALTHY_SECONDS = 120
FULL_SECONDS = 30
TEXT = "she sells sea shells by the sea shore; the shells she sells are sea shells. " * 60
MODEL = {"cell": "gru", "hidden_size": 16, "embedding_size": 8}
TRAIN = {"batch_size": 4, "tbptt_steps": 16}

Until = Callable[..., Any]


class Installation(NamedTuple):
    """The running installation as a client sees it, and the containers it is made of."""

    http: httpx.Client
    containers: Containers
    processes: dict[str, Child]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, for Ray's sockets. When it goes, no process may be left that was started in it."""
    folder = Path(tempfile.mkdtemp(prefix="u"))
    yield folder
    _, left = psutil.wait_procs(_processes_in(folder), timeout=10)
    for process in left:
        process.kill()
    shutil.rmtree(folder, ignore_errors=bool(left))
    assert not left, f"still running at the end: {left}"


@pytest.fixture(scope="module")
def installation(
    compose: dict[str, Any], root: Path, folder: Path, until: Until, program: Callable[[str], str]
) -> Iterator[Installation]:
    """Everything but Grafana, each service started once those it depends on are healthy."""
    program("redis-server")
    program("redis-cli")
    make_secrets(folder / "secrets")
    containers = Containers(compose, root, folder)
    processes: dict[str, Child] = {}

    def healthy(name: str) -> bool:
        assert not processes[name].has_ended(), processes[name].log_tail()
        return containers.is_healthy(name)

    try:
        for name in STARTED:
            for needed, how in compose["services"][name].get("depends_on", {}).items():
                if how["condition"] == "service_healthy":
                    until(lambda needed=needed: healthy(needed), HEALTHY_SECONDS)
            processes[name] = containers.start(name)
        key = containers.here("/var/lib/unroll/home/api_key").read_text()
        with httpx.Client(
            base_url=f"http://{containers.address('app', '8000')}",
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
        ) as http:
            yield Installation(http, containers, processes)
    finally:
        containers.stop()


def test_health_check_of_each_service_succeeds(installation: Installation, until: Until) -> None:
    for name in STARTED:
        until(lambda name=name: _is_healthy(installation, name), HEALTHY_SECONDS)


def test_health_checks_tell_a_service_that_does_not_answer(
    compose: dict[str, Any], root: Path, folder: Path, installation: Installation
) -> None:
    elsewhere = folder / "x"
    make_secrets(elsewhere / "secrets")
    silent = Containers(compose, root, elsewhere)
    assert [name for name in STARTED if silent.is_healthy(name)] == []


def test_job_submitted_over_http_is_trained_and_its_model_writes(installation: Installation, until: Until) -> None:
    until(lambda: installation.http.get("/readyz").json()["checks"]["sampler"] == "ok", HEALTHY_SECONDS)
    job = _submit(installation.http, {"max_steps": 20})

    record = until(lambda: _ended(installation.http, job), HEALTHY_SECONDS)
    assert record["state"] == "succeeded", record
    assert record["progress"]["step"] == 20

    answer = installation.http.post(
        "/v1/completions", json={"model": job, "prompt": "she ", "max_tokens": 7, "seed": 1}
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"][0]["text"]) == 7


def test_trainer_sits_on_the_worker_and_neither_on_the_head_nor_beside_the_dispatcher(
    installation: Installation, folder: Path
) -> None:
    trainers = [p for p in _processes_in(folder) if p.name().startswith("ray::Trainer")]
    assert [p.environ()["TMPDIR"] for p in trainers] == [installation.containers.environment("worker-cpu")["TMPDIR"]]


def test_nothing_was_written_where_nothing_is_handed_in(installation: Installation, folder: Path) -> None:
    assert not (folder / "absent").exists()


def test_redis_answers_to_its_password_alone_and_no_process_list_shows_a_secret(
    installation: Installation, folder: Path
) -> None:
    _, _, port = installation.containers.address("redis", "6379").rpartition(":")
    stranger = subprocess.run(["redis-cli", "-p", port, "ping"], check=False, capture_output=True, text=True)
    assert "NOAUTH" in stranger.stdout + stranger.stderr

    values = [path.read_text() for path in (folder / "secrets").iterdir()]
    seen = [word for process in _processes_in(folder) for word in (*process.cmdline(), *process.environ().values())]
    assert seen
    assert [value for value in values if any(value in word for word in seen)] == []


def test_prometheus_finds_every_process_and_fills_every_panel(
    installation: Installation, root: Path, until: Until, program: Callable[[str], str]
) -> None:
    binary = program("prometheus")
    config = installation.containers.configuration("prometheus", "/etc/prometheus/prometheus.yml")
    config.write_text(config.read_text().replace(": 15s", ": 500ms"))
    installation.containers.start("prometheus", binary)
    dashboard = json.loads((root / "deploy/grafana/dashboards/overview.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    panels = [target["expr"].replace("$__rate_interval", "1m") for target in targets]
    processes = [f'up{{job="{name}"}} == 1' for name in ("app", "dispatcher", "prometheus", "sampler")]

    with httpx.Client(base_url=f"http://{installation.containers.address('prometheus', '9090')}/api/v1") as prometheus:

        def show(expressions: list[str]) -> None:
            empty = list(expressions)

            def are_full() -> bool:
                empty[:] = [expression for expression in empty if not _points(prometheus, expression)]
                return not empty

            try:
                until(are_full, FULL_SECONDS)
            except pytest.fail.Exception:
                pytest.fail(f"nothing to be seen of {empty}")

        show(processes)
        _submit(installation.http, {"max_seconds": 4, "validate_every_steps": 10})  # is seen while it runs
        show(panels)


def test_serve_takes_the_sampler_s_place(installation: Installation, root: Path, until: Until) -> None:
    job = _submit(installation.http, {"max_steps": 5})
    assert until(lambda: _ended(installation.http, job), HEALTHY_SECONDS)["state"] == "succeeded"
    asked = {"model": job, "prompt": "she ", "max_tokens": 7, "seed": 1}
    plain = installation.http.post("/v1/completions", json=asked).json()["choices"]

    installation.containers.stop("sampler")
    installation.containers.lay_over(yaml.safe_load((root / "deploy/serve.yml").read_text()))
    installation.processes["sampler"] = installation.containers.start("sampler")
    until(lambda: _is_healthy(installation, "sampler"), HEALTHY_SECONDS)

    answer = installation.http.post("/v1/completions", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"] == plain
    metrics = httpx.get(f"http://{installation.containers.address('sampler', '8001')}/metrics").text
    assert "unroll_sampler_replicas 1.0" in metrics


def _submit(http: httpx.Client, train: dict[str, Any]) -> str:
    dataset = http.post("/v1/datasets", params={"kind": "text"}, content=TEXT, headers={"content-type": "text/plain"})
    assert dataset.status_code < 300, dataset.text
    spec = {"dataset": dataset.json()["id"], "model": MODEL, "train": TRAIN | train}
    job = http.post("/v1/jobs", json=spec)
    assert job.status_code < 300, job.text
    job_id: str = job.json()["id"]
    return job_id


def _ended(http: httpx.Client, job: str) -> dict[str, Any] | None:
    record: dict[str, Any] = http.get(f"/v1/jobs/{job}").json()
    return record if record["finished_at"] else None


def _points(prometheus: httpx.Client, expression: str) -> list[Any]:
    """What was to be seen within the last minutes."""
    now = time.time()
    try:
        answer = prometheus.get(
            "/query_range", params={"query": expression, "start": now - 120, "end": now, "step": 0.5}
        )
    except httpx.TransportError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["data"]["result"]
    return found


def _is_healthy(installation: Installation, name: str) -> bool:
    process = installation.processes[name]
    assert not process.has_ended(), process.log_tail()
    return installation.containers.is_healthy(name)


def _processes_in(folder: Path) -> list[psutil.Process]:
    """Processes whose environment names `folder`: all that were started there, by whomever."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(str(folder) in value for value in process.environ().values()):
                found.append(process)
    return found
