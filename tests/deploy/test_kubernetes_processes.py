"""What runs in the pods of the manifests: the commands of Compose, their probes, Redis, Ray and its trainers."""

import argparse
import importlib.util
import re
import shlex
from typing import Any

import pytest
import ray
from manifests import RENDERED, TRAINERS, Manifests

from services.jobqueue.durability import REQUIRED
from services.operations import add_commands

pytestmark = pytest.mark.system


def test_commands_are_those_of_compose(base: Manifests, compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in ("app", "sampler"):
        assert base.pod(name).container["command"] == services[name]["command"]
    script = services["redis"]["command"][-1].replace("$$", "$").replace("/run/secrets/", "/run/secrets/unroll/")
    assert base.pod("redis").container["command"] == [*services["redis"]["command"][:-1], script]
    for pod in base.pods():
        service = {"trainer-cpu": "worker-cpu", "trainer-gpu": "worker-gpu"}.get(pod.name, pod.name)
        assert pod.container["image"] == services[service]["image"]


@pytest.mark.parametrize("name", RENDERED)
def test_every_container_says_whether_it_is_well(rendered: dict[str, Manifests], name: str) -> None:
    for pod in rendered[name].pods():
        for probe in (pod.container["readinessProbe"], pod.container["livenessProbe"]):
            (kind,) = probe.keys() & {"exec", "httpGet", "tcpSocket"}
            if kind != "exec":
                assert pod.port(probe[kind]["port"]) is not None, pod.name


def test_probes_ask_what_the_processes_answer(base: Manifests, compose: dict[str, Any]) -> None:
    """Compose's own health checks are run against the processes by test_compose_runs; these ask the same."""
    asked = {}
    for pod in base.pods():
        probe = pod.container["readinessProbe"]
        if "exec" in probe:
            asked[pod.name] = probe["exec"]["command"][-1].replace("/unroll/", "/")
        elif "httpGet" in probe:
            asked[pod.name] = f"'http://127.0.0.1:{pod.port(probe['httpGet']['port'])}{probe['httpGet']['path']}'"
        else:
            asked[pod.name] = f"('127.0.0.1', {pod.port(probe['tcpSocket']['port'])})"
    services = {"trainer-cpu": "worker-cpu", "trainer-gpu": "worker-gpu"}
    for name, question in asked.items():
        check = compose["services"][services.get(name, name)]["healthcheck"]["test"][-1].replace("$$", "$")
        assert question in check, name


def test_redis_keeps_what_it_acknowledges(base: Manifests) -> None:
    redis = base.pod("redis")
    for name, value in REQUIRED.items():
        assert f"--{name} {value} " in redis.container["command"][-1]
    (claim,) = base.get("StatefulSet", "redis")["spec"]["volumeClaimTemplates"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in redis.container["volumeMounts"]
    assert redis.count == 1


@pytest.mark.parametrize("name", RENDERED)
def test_ray_asks_for_its_token_everywhere_and_shows_no_dashboard(rendered: dict[str, Manifests], name: str) -> None:
    manifests = rendered[name]
    spec = manifests.get("RayCluster", "ray")["spec"]
    assert spec["rayVersion"] == ray.__version__
    assert spec["headGroupSpec"]["rayStartParams"] == {
        "port": "6380",
        "num-cpus": "0",
        "num-gpus": "0",
        "include-dashboard": "false",
        "dashboard-host": "127.0.0.1",
        "object-store-memory": "209715200",
    }
    for pod in manifests.pods():
        environment = pod.environment(manifests)
        if "ray_token" in pod.secrets():
            assert environment["RAY_AUTH_MODE"] == "token"
            assert environment["RAY_worker_niceness"] == "0"
            (shared,) = [v["emptyDir"] for v in pod.spec["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"]
            assert shared == {"medium": "Memory", "sizeLimit": "512Mi"}
        else:
            assert "ray start" not in str(pod.container.get("command"))


@pytest.mark.parametrize(("name", "pod_name"), [("base", "dispatcher"), ("serve", "sampler")])
def test_drivers_come_to_the_head_on_a_node_that_seats_nobody(
    rendered: dict[str, Manifests], name: str, pod_name: str
) -> None:
    pod = rendered[name].pod(pod_name)
    script = pod.container["command"][-1]
    head = rendered[name].get("RayCluster", "ray")
    # KubeRay calls the head's service after the cluster.
    address = f"{head['metadata']['name']}-head-svc:{head['spec']['headGroupSpec']['rayStartParams']['port']}"
    assert pod.environment(rendered[name])["RAY_ADDRESS"] == address
    assert f"ray start --address={address} --num-cpus=0 --num-gpus=0 " in script
    (module,) = re.findall(r"^exec python -P -m ([\w.]+)$", script, re.M)
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("name", TRAINERS)
def test_trainer_that_leaves_drains_its_node_first(base: Manifests, name: str) -> None:
    pod = base.pod(name)
    (shell, option, command) = pod.container["lifecycle"]["preStop"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    words = shlex.split(command)
    assert words[:6] == ["exec", "python", "-P", "-m", "services.local", "drain"]
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(), print)
    asked = parser.parse_args(words[5:])
    assert (asked.node, asked.wait) == ("$HOSTNAME", True)
    assert asked.timeout + 20 < pod.spec["terminationGracePeriodSeconds"]
    assert {"configMapRef": {"name": "queue"}} in pod.container["envFrom"]
