"""`unroll up` on one machine, seen from beside it."""

import contextlib
import os
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import httpx
import psutil

from tests.running_service import Service, wait_for


def _unroll(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("unroll")), *arguments]
    return subprocess.run(
        command, env=service.environment, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )


def test_a_second_service_on_the_same_home_is_refused(service: Service) -> None:
    second = _unroll(service, "up")
    assert second.returncode == 1
    assert f"a service already runs on {service.home}" in second.stderr
    assert service.api.get("/readyz").status_code == 200


def test_status_finds_url_and_key_by_itself(service: Service) -> None:
    status = _unroll(service, "status")
    assert status.returncode == 0, status.stderr
    assert str(service.api.base_url).rstrip("/") in status.stdout


def test_the_doctor_finds_nothing_wrong_where_a_service_runs(service: Service) -> None:
    examined = _unroll(service, "doctor")
    assert examined.returncode == 0, examined.stderr
    assert "FAIL" not in examined.stderr


def test_what_is_secret_is_readable_by_its_owner_alone(service: Service) -> None:
    for name in ("api_key", "secret", "run/ray_token"):
        assert stat.S_IMODE((service.home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(service.home.stat().st_mode) == 0o700


def test_the_key_appears_in_no_log_and_not_in_redis(service: Service) -> None:
    key = (service.home / "api_key").read_text().strip()
    files = [*(service.home / "logs").iterdir(), *(service.home / "redis").rglob("*")]
    contents = [file.read_bytes() for file in files if file.is_file()]
    assert len(contents) > 4
    assert not [content for content in contents if key.encode() in content]


def test_redis_listens_on_no_port(service: Service) -> None:
    (redis,) = [process for process in service.family() if "redis" in process.name() or "valkey" in process.name()]
    assert [c for c in redis.net_connections() if c.status == psutil.CONN_LISTEN and c.family.name != "AF_UNIX"] == []


def test_the_app_listens_on_loopback_alone(service: Service) -> None:
    (app,) = [process for process in service.family() if "services.app" in process.cmdline()]
    listening = [c.laddr.ip for c in app.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_a_stranger_cannot_fill_the_memory_with_a_header(service: Service) -> None:
    with contextlib.suppress(httpx.TransportError):  # it may hang up while we still write
        answer = httpx.get(f"{service.api.base_url}/healthz", headers={"x-long": "a" * 1_000_000})
        assert answer.status_code == 400


def test_metrics_tell_of_queue_and_training(service: Service, text: str) -> None:
    job = service.ended(service.submit(service.upload(text))["id"])
    assert job["state"] == "succeeded"
    metrics = service.api.get("/metrics").text
    assert 'unroll_jobs_finished_total{cell="lstm",outcome="succeeded",reason="finished"}' in metrics
    trained = [line for line in metrics.splitlines() if line.startswith('unroll_train_steps_total{cell="lstm"}')]
    assert float(trained[0].split()[1]) >= 60


def test_a_process_that_dies_is_started_again(service: Service) -> None:
    (sampler,) = [process for process in service.family() if "services.sampling.app" in process.cmdline()]
    sampler.kill()
    sampler.wait(10)
    found = wait_for(
        lambda: service.api.get("/readyz").json()["checks"]["sampler"] == "ok", 60, lambda: "the sampler to come back"
    )
    assert found


def test_a_stranger_without_a_key_is_told_nothing(service: Service) -> None:
    url = str(service.api.base_url)
    assert httpx.get(f"{url}/v1/jobs").status_code == 401
    assert httpx.get(f"{url}/metrics").status_code == 401
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}


def test_home_is_named_by_unroll_home_and_by_nothing_else(tmp_path: Path) -> None:
    code = "from services.settings import Settings; s = Settings(); print(s.root, s.port)"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PORT": "1", "STORAGE": "x"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == [str(tmp_path / ".unroll"), "8000"]


def test_ray_answers_nobody_without_its_token(service: Service) -> None:
    """Line 9 of the threat model: a driver without the token is refused at each port that Ray listens on."""
    ports = sorted(
        {
            connection.laddr.port
            for process in service.family()
            if "ray" in " ".join(process.cmdline())
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
    )
    assert len(ports) >= 3
    commands = [process.cmdline() for process in service.family()]
    head = next(int(port) for words in commands if "ray.scripts.scripts" in words for port in _after(words, "--port"))
    assert head in ports
    join = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print('in', ray.nodes())"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "UNROLL_"))}
    for mode in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
        command = [sys.executable, "-c", join, f"127.0.0.1:{head}"]
        done = subprocess.run(command, env=environment | mode, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode != 0, done.stdout
        assert "NodeID" not in done.stdout
    for port in ports:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/jobs/", timeout=3)
        except httpx.HTTPError:
            continue  # speaks no HTTP
        # Its metrics ports answer anybody, whatever is asked: they tell nothing of users.
        is_metrics = answer.status_code == 200 and answer.text.startswith("# HELP")
        assert is_metrics or answer.status_code in (401, 403, 404, 405), (port, answer.text[:200])
        assert "job-" not in answer.text


def _after(words: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(words) if name == option]
