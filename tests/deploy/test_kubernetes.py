"""The manifests as they are rendered: valid, whole, and what the guide says of them. No cluster is needed."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from manifests import COMPONENTS, OURS, OVERLAYS, RENDERED, Manifests, selects, written

from deploy.prometheus.build import manifest
from services.settings import Settings

pytestmark = pytest.mark.system

KUBERNETES = "1.37"

# Fields of ray.io/v1 that the manifests use, by the KubeRay CRD API reference of KubeRay 1.6 (docs.ray.io, "KubeRay CRD
# API reference"; in its repository ray-operator/apis/ray/v1/raycluster_types.go). Pod templates are validated as pods.
RAY_CLUSTER = {
    "rayVersion": str,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {
        "version": str,
        "upscalingMode": str,
        "idleTimeoutSeconds": int,
        "imagePullPolicy": str,
        "envFrom": list,
        "resources": dict,
        "securityContext": dict,
        "volumeMounts": list,
    },
    "headGroupSpec": {"rayStartParams": dict, "template": dict},
    "workerGroupSpecs": [
        {
            "groupName": str,
            "replicas": int,
            "minReplicas": int,
            "maxReplicas": int,
            "rayStartParams": dict,
            "template": dict,
        }
    ],
}

# Fields of monitoring.coreos.com/v1 that the manifests use, by the API reference of Prometheus' operator
# (prometheus-operator.dev, "API reference").
MONITORING = {
    "PodMonitor": {
        "jobLabel": str,
        "selector": dict,
        "podMetricsEndpoints": [{"port": str, "path": str, "authorization": dict}],
    },
    "PrometheusRule": {"groups": [{"name": str, "rules": list}]},
}


def test_no_component_and_no_overlay_is_left_out_here_or_in_the_guide(root: Path) -> None:
    kubernetes = root / "deploy/kubernetes"
    assert sorted(path.name for path in (kubernetes / "components").iterdir()) == sorted(COMPONENTS)
    assert sorted(path.name for path in (kubernetes / "overlays").iterdir()) == sorted(OVERLAYS)
    guide = (root / "docs/how-to/cluster.md").read_text()
    assert [name for name in (*COMPONENTS, *OVERLAYS) if f"`{name}`" not in guide] == []


@pytest.mark.parametrize("name", RENDERED)
def test_every_object_is_what_kubernetes_takes(rendered: dict[str, Manifests], name: str) -> None:
    for one in rendered[name].objects:
        if one["kind"] == "RayCluster":
            assert one["apiVersion"] == "ray.io/v1"
            assert _faults(one["spec"], RAY_CLUSTER) == []
        elif one["kind"] in MONITORING:
            assert one["apiVersion"] == "monitoring.coreos.com/v1"
            assert _faults(one["spec"], MONITORING[one["kind"]]) == []
        else:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    for pod in rendered[name].pods():
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name, "labels": pod.labels}}
        kubernetes_validate.validate(made | {"spec": pod.spec}, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", RENDERED)
def test_whatever_is_named_is_there(rendered: dict[str, Manifests], name: str) -> None:
    manifests = rendered[name]
    claims = {one["metadata"]["name"] for one in manifests.of("PersistentVolumeClaim")} | {"data"}
    for pod in manifests.pods():
        volumes = {volume["name"] for volume in pod.spec["volumes"]}
        assert {mount["name"] for mount in pod.container["volumeMounts"]} == volumes, pod.name
        named = {v["persistentVolumeClaim"]["claimName"] for v in pod.spec["volumes"] if "persistentVolumeClaim" in v}
        assert named <= claims, pod.name
    for service in manifests.of("Service"):
        meant = [pod for pod in manifests.pods() if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)]
        assert [pod.name for pod in meant] == [service["metadata"]["name"]]
        (port,) = service["spec"]["ports"]
        assert meant[0].port(port["targetPort"]) == port["port"]
    for one in (*manifests.of("PodDisruptionBudget"), *manifests.of("NetworkPolicy")):
        selector = one["spec"].get("selector") or one["spec"]["podSelector"]
        assert [pod for pod in manifests.pods() if selects(selector, pod.labels)], one["metadata"]["name"]


def test_settings_know_every_variable_of_ours(rendered: dict[str, Manifests]) -> None:
    known = {field.validation_alias for field in Settings.model_fields.values()}
    for manifests in rendered.values():
        given = {name for pod in manifests.pods() for name in pod.environment(manifests)}
        assert {name for name in given if name.startswith(("UNROLL_", "REDIS_"))} - known == set()


def test_pods_asked_for(rendered: dict[str, Manifests]) -> None:
    def counts(name: str) -> dict[str, int]:
        return {pod.name: pod.count for pod in rendered[name].pods() if pod.count != 1}

    none = {"app": 2, "sampler": 2, "trainer-cpu": 2, "trainer-gpu": 0}
    assert counts("base") == none
    assert counts("gpu") == {"app": 2, "sampler": 2, "trainer-cpu": 2}
    assert counts("serve") == {"app": 2, "trainer-cpu": 2, "trainer-gpu": 0}
    assert counts("single-gpu") == {"trainer-cpu": 0}
    limits = rendered["gpu"].pod("trainer-gpu").container["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in rendered["gpu"].pod("trainer-cpu").container["resources"]["limits"]
    for one in rendered["everything"].get("RayCluster", "ray")["spec"]["workerGroupSpecs"]:
        assert one["minReplicas"] <= one["replicas"] <= one["maxReplicas"]


def test_budgets_let_a_node_be_emptied_one_pod_at_a_time(rendered: dict[str, Manifests]) -> None:
    for manifests in rendered.values():
        for budget in manifests.of("PodDisruptionBudget"):
            count = sum(pod.count for pod in manifests.pods() if selects(budget["spec"]["selector"], pod.labels))
            least = budget["spec"].get("minAvailable", count - budget["spec"].get("maxUnavailable", 0))
            scales = "enableInTreeAutoscaling" in manifests.get("RayCluster", "ray")["spec"]
            assert least < count or scales, budget["metadata"]["name"]
    assert {one["metadata"]["name"] for one in rendered["base"].of("PodDisruptionBudget")} == {
        "app",
        "sampler",
        "trainers",
    }


def test_autoscaled_cluster_takes_jobs_of_as_many_workers_as_it_may_have(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["autoscaling"]
    groups = manifests.get("RayCluster", "ray")["spec"]["workerGroupSpecs"]
    most = manifests.get("ConfigMap", "settings")["data"]["UNROLL_MAX_WORKERS"]
    assert int(most) == sum(group["maxReplicas"] for group in groups)


def test_an_image_of_another_registry_reaches_every_pod(rendered: dict[str, Manifests]) -> None:
    images = {pod.name: pod.container["image"] for pod in rendered["cloud"].pods()}
    registry = "registry.example.org/unroll-server"
    assert images == dict.fromkeys(OURS, f"{registry}:0.1.0") | {"trainer-gpu": f"{registry}-gpu:0.1.0"}


def test_overlay_of_the_guide_renders(root: Path, tmp_path: Path, program: Callable[[str], str]) -> None:
    (text,) = re.findall(
        r"^ *# my-lab/kustomization.yaml\n(.*?)^ *```", (root / "docs/how-to/cluster.md").read_text(), re.M | re.S
    )
    manifests = written(program("kubectl"), root, tmp_path, textwrap.dedent(text))
    assert manifests.get("PersistentVolumeClaim", "storage")["spec"]["storageClassName"] == "nfs"
    assert manifests.pod("app").environment(manifests)["UNROLL_ALLOWED_HOSTS"] == "app,unroll.example.org"
    assert manifests.pod("trainer-gpu").container["image"] == "registry.example.org/unroll-server-gpu:0.1.0"


def test_rules_of_the_operator_are_those_that_are_tested(root: Path) -> None:
    """`python -m deploy.prometheus.build` writes them."""
    assert (root / "deploy/kubernetes/components/monitoring/rules.yaml").read_text() == manifest()


def _faults(given: Any, fields: Any, at: str = "spec") -> list[str]:
    """What of `given` is no field of `fields`, or not of its type."""
    if isinstance(fields, type):
        return [] if type(given) is fields else [f"{at} is no {fields.__name__}"]
    if isinstance(fields, list):
        return [fault for number, one in enumerate(given) for fault in _faults(one, fields[0], f"{at}[{number}]")]
    unknown = [f"{at}.{name} is unknown" for name in given.keys() - fields.keys()]
    known = given.keys() & fields.keys()
    return unknown + [fault for name in known for fault in _faults(given[name], fields[name], f"{at}.{name}")]
