"""Two hosts: Redis, Ray's head and the dispatcher on the near one, a worker on the far one, storage shared by both.

Two jobs of one spec start at once, one on each host. The near one makes place when the far one is disturbed. However a
job was disturbed, its parameters are those of the other test's.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hosts import Cable, Host, two_hosts

from services.jobqueue.audit import audit
from services.jobqueue.durability import REQUIRED
from services.jobqueue.scripts import RedisScripts
from services.processes import Child, free_port
from services.settings import Settings

pytestmark = [pytest.mark.system, pytest.mark.timeout(500)]

PASSWORD = "between-hosts-a-password"
LEASE_SECONDS = 3.0
START_SECONDS = 120
SECONDS = 120
TEXT = "she sells sea shells by the sea shore; the shells she sells are sea shells. " * 60
SPEC = {
    "model": {"cell": "lstm", "hidden_size": 96, "embedding_size": 16},
    "train": {"batch_size": 8, "tbptt_steps": 32, "max_steps": 1000, "checkpoint_every_steps": 50},
}

Until = Callable[..., Any]


class Lab(NamedTuple):
    """The hosts, and the service on them as its clients see it."""

    near: Host
    far: Host
    cable: Cable
    http: httpx.Client
    scripts: RedisScripts
    dispatcher: Child
    join: Callable[[], Child]  # the far host to Ray's cluster, which has no way back in for one that it gave up

    def job(self, job: str) -> dict[str, Any]:
        record: dict[str, Any] = self.http.get(f"/v1/jobs/{job}").raise_for_status().json()
        return record

    def num_warm(self, host: Host) -> int:
        """Trainers on `host` that the dispatcher has seen get warm and that still are there."""
        told = re.findall(r"is warm, pid (\d+)", self.dispatcher.log_path.read_text())
        return len({int(pid) for pid in told} & host.pids())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="u"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def lab(folder: Path, until: Until, program: Callable[[str], str]) -> Iterator[Lab]:
    """Everything up, one warm trainer on each host."""
    redis_server = program("redis-server")
    try:
        with two_hosts(program("ip")) as (near, far, cable), pytest.MonkeyPatch.context() as patch:
            yield from _lab(near, far, cable, redis_server, folder, until, patch)
    except PermissionError as error:
        pytest.skip(f"left out: network namespaces, which this user may not make ({error})")


def _lab(
    near: Host, far: Host, cable: Cable, redis_server: str, folder: Path, until: Until, patch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    (folder / "token").write_text("a" * 64)
    (folder / "password").write_text(PASSWORD)
    port = free_port("127.0.0.1")
    everywhere = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": ":".join(sys.path),
        "HOME": str(folder),
        "UNROLL_HOME": str(folder / "home"),
        "UNROLL_SECRET_FILE": str(folder / "secret"),
        "UNROLL_STORAGE": str(folder / "storage"),
        "UNROLL_LEASE_SECONDS": str(LEASE_SECONDS),
        "REDIS_PASSWORD_FILE": str(folder / "password"),
    }
    for name, value in everywhere.items():
        if name.startswith(("UNROLL_", "REDIS_")):
            patch.setenv(name, value)
    patch.setenv("REDIS_URL", f"unix://{folder}/redis.sock")
    settings = Settings()
    on_hosts = everywhere | {
        "REDIS_URL": f"redis://{near.address}:6379/0",
        "RAY_ADDRESS": f"{near.address}:6380",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "GLOO_SOCKET_IFNAME": "cable",  # the name of this machine leads to none of the hosts' addresses
    }
    app_environment = everywhere | {"REDIS_URL": f"unix://{folder}/redis.sock", "UNROLL_PORT": str(port)}
    app = Child("app", [sys.executable, "-P", "-m", "services.app"], app_environment, folder / "app.log")

    head = near.start("head", _ray(near, folder, "--head", "--port=6380"), on_hosts, folder)
    keeps = [word for name, value in REQUIRED.items() for word in (f"--{name}", value)]
    where = ["--bind", near.address, "--port", "6379", "--unixsocket", f"{folder}/redis.sock", "--dir", str(folder)]
    near.start("redis", [redis_server, *where, *keeps, "--save", "", "--requirepass", PASSWORD], on_hosts, folder)
    scripts = RedisScripts(settings.redis_url or "", settings.secret)
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    try:
        until((folder / "redis.sock").exists, START_SECONDS)
        app.start()
        until(lambda: _runs(head), START_SECONDS)
        joining = _ray(far, folder, f"--address={near.address}:6380")
        join = partial(far.start, "worker", joining, on_hosts, folder)
        worker = join()
        command = [sys.executable, "-P", "-m", "workers.dispatcher"]
        dispatcher = near.start("dispatcher", command, on_hosts, folder)
        until(lambda: _answers(http), START_SECONDS)
        http.headers["authorization"] = f"Bearer {(settings.root / 'api_key').read_text().strip()}"
        lab = Lab(near, far, cable, http, scripts, dispatcher, join)
        until(lambda: _runs(worker), START_SECONDS)
        until(lambda: lab.num_warm(near) == lab.num_warm(far) == 1, START_SECONDS)
        yield lab
    finally:
        http.close()
        scripts.close()
        app.stop()


@pytest.fixture(scope="module")
def parameters() -> set[str]:
    """Digests of the parameters that the jobs of this file ended with."""
    return set()


def test_gang_over_both_hosts_goes_on_with_one_worker_when_the_cable_is_cut(lab: Lab, until: Until) -> None:
    spec = SPEC | {"dataset": _dataset(lab), "model": SPEC["model"] | {"dropout": 0.0}}
    train = SPEC["train"] | {"max_steps": 1500, "checkpoint_every_steps": 150}
    spec |= {"train": train, "resources": {"num_workers": 2, "min_workers": 1}}
    job = lab.http.post("/v1/jobs", json=spec).raise_for_status().json()["id"]
    until(lambda: lab.http.get(f"/v1/jobs/{job}/checkpoints").json()["data"], SECONDS)
    placement = lab.job(job)["placement"]
    assert (placement["workers"], len(set(placement["nodes"]))) == (2, 2)
    lab.cable.fall_silent()
    until(lambda: lab.job(job)["epoch"] == 2, SECONDS)
    until(lambda: lab.job(job)["finished_at"], SECONDS)
    end = lab.job(job)
    lab.cable.heal()
    assert (end["state"], end["epoch"], end["placement"]["workers"]) == ("succeeded", 2, 1)
    assert end["placement"]["pid"] in lab.near.pids()
    assert audit(lab.scripts) == []
    lab.far.lose_power()
    lab.join()
    until(lambda: lab.num_warm(lab.far) == lab.num_warm(lab.near) == 1, SECONDS)


def test_job_of_a_host_that_falls_silent_runs_elsewhere_and_counts_once(
    lab: Lab, until: Until, parameters: set[str]
) -> None:
    near, far = _one_on_each_host(lab, until)
    lab.cable.fall_silent()
    _cancel(lab, near)
    until(lambda: lab.job(far)["epoch"] == 2, SECONDS)
    lab.cable.heal()
    parameters.add(_parameters_at_the_end(lab, until, far))
    until(lambda: lab.num_warm(lab.far) == 1, SECONDS)


def test_job_of_a_host_that_dies_runs_elsewhere(lab: Lab, until: Until, parameters: set[str]) -> None:
    near, far = _one_on_each_host(lab, until)
    lab.far.lose_power()
    _cancel(lab, near)
    parameters.add(_parameters_at_the_end(lab, until, far))
    assert len(parameters) == 1


def _one_on_each_host(lab: Lab, until: Until) -> tuple[str, str]:
    """Two equal jobs at work, the near one and the far one, the far one past a checkpoint."""
    spec = SPEC | {"dataset": _dataset(lab)}
    until(lambda: len(_idle(lab)) == 2, SECONDS)
    jobs = [lab.http.post("/v1/jobs", json=spec).raise_for_status().json()["id"] for _ in range(2)]
    until(lambda: all(lab.job(job)["placement"] for job in jobs), SECONDS)
    places = {job: lab.job(job)["placement"]["pid"] in lab.far.pids() for job in jobs}
    assert sorted(places.values()) == [False, True]
    near, far = sorted(jobs, key=lambda job: places[job])
    until(lambda: lab.http.get(f"/v1/jobs/{far}/checkpoints").json()["data"], SECONDS)
    assert lab.job(far)["state"] == "running"
    return near, far


def _idle(lab: Lab) -> set[str]:
    """Nodes with a free worker; one whose trainer still ends a job that it has lost is none of them."""
    workers = lab.http.get("/v1/workers").raise_for_status().json()["data"]
    return {worker["node"] for worker in workers if worker["state"] == "idle"}


def _dataset(lab: Lab) -> str:
    sent = lab.http.post("/v1/datasets", params={"kind": "text"}, content=TEXT.encode())
    dataset: str = sent.raise_for_status().json()["id"]
    return dataset


def _cancel(lab: Lab, job: str) -> None:
    lab.http.post(f"/v1/jobs/{job}/cancel").raise_for_status()


def _parameters_at_the_end(lab: Lab, until: Until, job: str) -> str:
    """What the job has come to on the near host, told as if one run had made it."""
    until(lambda: lab.job(job)["finished_at"], SECONDS)
    end = lab.job(job)
    assert (end["state"], end["epoch"]) == ("succeeded", 2), end
    assert end["placement"]["pid"] in lab.near.pids()
    rows = lab.http.get(f"/v1/jobs/{job}/metrics").raise_for_status().json()["data"]
    assert all(earlier["step"] < later["step"] for earlier, later in pairwise(rows))
    assert rows[-1]["step"] == SPEC["train"]["max_steps"]
    assert {row["epoch"] for row in rows} == {1, 2}
    assert audit(lab.scripts) == []
    digest: str = end["parameters_sha256"]
    return digest


def _ray(host: Host, folder: Path, *words: str) -> list[str]:
    own = ["--include-dashboard=false"] if "--head" in words else []
    about = [
        f"--node-ip-address={host.address}",
        "--object-store-memory=100000000",
        f"--temp-dir={folder}/{host.name[-4:]}",
    ]
    return ["ray", "start", "--block", *about, *own, *words]


def _runs(child: Child) -> bool:
    assert not child.has_ended(), child.log_tail()
    return b"Ray runtime started" in child.log_path.read_bytes()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
