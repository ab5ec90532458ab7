"""Who of the manifests' pods may talk to whom, and who outside is let in."""

import pytest
from manifests import TRAINERS, Manifests, selects

pytestmark = pytest.mark.system


def test_flows_between_pods_are_those_that_are_needed(rendered: dict[str, Manifests]) -> None:
    ray_nodes = ("dispatcher", "ray-head", *TRAINERS)
    needed = {(one, other, "all") for one in ray_nodes for other in ray_nodes}
    needed |= {(one, "redis", 6379) for one in ("app", "dispatcher", *TRAINERS)}
    needed |= {("app", "sampler", 8001)}
    needed |= {(one, "outside", 53) for one in ("app", "redis", "sampler", *ray_nodes)}
    needed |= {("outside", "app", 8000), ("outside", "sampler", 8001), ("outside", "dispatcher", 9101)}
    assert rendered["base"].flows() == needed

    assert rendered["autoscaling"].flows() - needed == {("ray-head", "outside", 443), ("ray-head", "outside", 6443)}
    assert rendered["external-redis"].flows() ^ needed == {
        ("redis", "outside", 53),
        *((one, end, 6379) for one in ("app", "dispatcher", *TRAINERS) for end in ("redis", "outside")),
    }
    with_bucket = ("app", "dispatcher", "sampler", *TRAINERS)
    assert rendered["s3"].flows() - needed == {(one, "outside", 443) for one in with_bucket}
    front = {(one, "sampler", "all") for one in ray_nodes} | {("sampler", one, "all") for one in ray_nodes}
    assert rendered["serve"].flows() - needed == front | {("sampler", "sampler", "all")}


def test_each_end_refuses_by_itself(base: Manifests) -> None:
    """Who asks has rules of its own too; a rule that is lost at one end opens nothing."""
    assert base.get("NetworkPolicy", "nothing-unless-allowed")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    pods = base.pods()
    asked = {pod.name: {one.name for one in pods if base.let_in(pod, one)} for pod in pods}
    ray_nodes = {"dispatcher", "ray-head", *TRAINERS}
    assert asked == {
        "app": {pod.name for pod in pods},
        "redis": {"app", "dispatcher", *TRAINERS},
        "sampler": {"app"},
        **dict.fromkeys(ray_nodes, ray_nodes),
    }
    asks = {pod.name: {one.name for one in pods if base.let_out(pod, one)} for pod in pods}
    assert asks == {
        "app": {"redis", "sampler"},
        "redis": set(),
        "sampler": set(),
        "ray-head": ray_nodes,
        **{key: {"redis", *ray_nodes} for key in ("dispatcher", *TRAINERS)},
    }


def test_outside_the_namespace_is_monitoring_but_for_the_app(base: Manifests) -> None:
    for policy in base.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            outside = [one["namespaceSelector"] for one in rule.get("from", []) if "namespaceSelector" in one]
            assert outside in ([], [{"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}])
            if "from" not in rule:
                assert (policy["metadata"]["name"], rule) == ("app", {"ports": [{"port": "http"}]})
    assert {one["spec"].get("type", "ClusterIP") for one in base.of("Service")} == {"ClusterIP"}
    assert base.of("Ingress") == []


def test_monitors_find_the_pods_that_tell_metrics_where_they_listen(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["monitoring"]
    found = {}
    for monitor in manifests.of("PodMonitor"):
        spec = monitor["spec"]
        (pod,) = [pod for pod in manifests.pods() if selects(spec["selector"], pod.labels)]
        (endpoint,) = spec["podMetricsEndpoints"]
        secret = endpoint.get("authorization", {}).get("credentials")
        found[pod.labels[spec["jobLabel"]]] = (pod.name, pod.port(endpoint["port"]), secret)
    assert found == {
        "app": ("app", 8000, {"name": "unroll", "key": "api_key"}),
        "sampler": ("sampler", 8001, None),
        "dispatcher": ("dispatcher", 9101, None),
    }
    assert {("outside", name, port) for name, port, _ in found.values()} <= manifests.flows()
