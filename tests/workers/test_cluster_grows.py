"""A job of more workers than there are, where Ray's autoscaler may add nodes: it asks for one, and the job runs.

The autoscaler is Ray's own; the nodes that it adds are processes on this machine (Ray's provider for tests).
"""

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from services.processes import Child, free_port
from tests.running_service import Service, running, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

AUTOSCALER = {
    "cluster_name": "grows",
    "max_workers": 1,
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "one-core": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
    "head_node_type": "ray.head.default",
    "upscaling_speed": 1,
    "idle_timeout_minutes": 10,
    # Ray wants them there, empty or not.
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands")},
    **{f"{who}setup_commands": [] for who in ("", "head_", "worker_")},
    **{f"{who}_start_ray_commands": [] for who in ("head", "worker")},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """What joins a cluster of one core that may get another."""
    with tempfile.TemporaryDirectory(prefix="u") as name:
        folder, address = Path(name), ray.util.get_node_ip_address()  # Ray takes 127.0.0.1 for this one
        port = free_port(address)
        (folder / "token").write_text(secrets.token_hex(32))
        provider = {"type": "fake_multinode", "gcs_address": f"{address}:{port}", "disable_node_updaters": True}
        provider |= {"use_node_id_as_ip": True, "disable_launch_config_check": True}
        (folder / "autoscaler.json").write_text(json.dumps(AUTOSCALER | {"provider": provider}))
        joins = {
            "RAY_ADDRESS": f"{address}:{port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
        }
        own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": ":".join(sys.path)}
        fake = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "HOME": name}
        where = [f"--node-ip-address={address}", f"--port={port}", f"--temp-dir={folder}/ray", "--num-cpus=1"]
        rest = ["--include-dashboard=false", "--object-store-memory=100000000"]
        command = ["ray", "start", "--head", "--block", f"--autoscaling-config={folder}/autoscaler.json", *where, *rest]
        head = Child("head", command, own | fake | joins, folder / "head.log")
        head.start()
        try:
            wait_for(lambda: b"Ray runtime started" in head.log_path.read_bytes(), 60, head.log_tail)
            yield joins
        finally:
            family = psutil.Process(head.pid).children(recursive=True)
            head.stop()
            _end([process for process in family if process.is_running()])


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=10)


@pytest.fixture
def growing(cluster: dict[str, str]) -> Iterator[Service]:
    with running(UNROLL_MAX_WORKERS="2", UNROLL_TRAINERS="1", **cluster) as service:
        yield service


def test_gang_that_waits_for_a_node_gets_it_of_the_autoscaler(growing: Service, text: str) -> None:
    dataset = growing.upload(text)
    first = growing.submit(dataset)
    assert growing.ended(first["id"])["state"] == "succeeded", "the one worker there is"
    train = {"batch_size": 4, "max_steps": 40}
    job = growing.submit(dataset, train=train, resources={"num_workers": 2})
    assert job["queue"]["reason"] == "cluster_grows"
    record = growing.ended(job["id"], 240)
    assert (record["state"], record["epoch"], record["placement"]["workers"]) == ("succeeded", 1, 2)
    assert len(set(record["placement"]["nodes"])) == 2
