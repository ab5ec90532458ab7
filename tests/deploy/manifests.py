"""The manifests as `kubectl kustomize` renders them: their objects, the pods that they make, who may talk to whom."""

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Object = dict[str, Any]
Selector = dict[str, Any]
Flow = tuple[str, str, int | str]

COMPONENTS = ("autoscaling", "external-redis", "gpu", "monitoring", "s3", "serve")
OVERLAYS = ("cloud", "single-gpu")
RENDERED = ("base", *COMPONENTS, *OVERLAYS, "everything")
TRAINERS = ("trainer-cpu", "trainer-gpu")
OURS = ("app", "dispatcher", "ray-head", "sampler", *TRAINERS)


class Pod(NamedTuple):
    """A pod template, and the labels of what runs from it. `count` is how many of it are asked for."""

    name: str
    labels: dict[str, str]
    spec: Object
    count: int

    @property
    def container(self) -> Object:
        (container,) = self.spec["containers"]
        return dict(container)

    def port(self, port: int | str) -> int | None:
        """A port by its name or number; None where the container has none of that name."""
        named = {one["name"]: one["containerPort"] for one in self.container.get("ports", [])}
        return named.get(port) if isinstance(port, str) else port

    def environment(self, manifests: "Manifests") -> dict[str, str]:
        """What the container sees, ConfigMaps first."""
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", []):
            found |= manifests.get("ConfigMap", source["configMapRef"]["name"])["data"]
        return found | {one["name"]: one["value"] for one in self.container.get("env", [])}

    def secrets(self) -> set[str]:
        """Keys of the secret that lie in the container as files."""
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        mounted = [volumes[mount["name"]] for mount in self.container["volumeMounts"]]
        return {item["key"] for volume in mounted if "secret" in volume for item in volume["secret"]["items"]}


class Manifests:
    """What one kustomization renders to."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    def of(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def get(self, kind: str, name: str) -> Object:
        (found,) = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        return found

    def pods(self) -> list[Pod]:
        """Every pod template, those of the RayCluster included."""
        found = []
        for one in (*self.of("Deployment"), *self.of("StatefulSet")):
            template = one["spec"]["template"]
            name, count = one["metadata"]["name"], one["spec"]["replicas"]
            claims = [claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])]
            own = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
            spec = template["spec"] | {"volumes": template["spec"]["volumes"] + own}
            found.append(Pod(name, template["metadata"]["labels"], spec, count))
        ray = self.get("RayCluster", "ray")["spec"]
        groups = [("ray-head", 1, ray["headGroupSpec"])]
        groups += [(f"trainer-{group['groupName']}", group["replicas"], group) for group in ray["workerGroupSpecs"]]
        for name, count, group in groups:
            template = group["template"]
            found.append(Pod(name, template["metadata"]["labels"], template["spec"], count))
        return found

    def pod(self, name: str) -> Pod:
        (found,) = [one for one in self.pods() if one.name == name]
        return found

    def flows(self) -> set[Flow]:
        """(from, to, port) of everything that the policies of both ends allow; port is `all` where none is named.

        The ends are the pods' names, and `outside` for whatever is not in the namespace.
        """
        pods = self.pods()
        found = {
            (source.name, target.name, port)
            for source in pods
            for target in pods
            for port in _both(self.let_in(target, source), self.let_out(source, target))
        }
        found |= {("outside", pod.name, port) for pod in pods for port in self.let_in(pod, None)}
        return found | {(pod.name, "outside", port) for pod in pods for port in self.let_out(pod, None)}

    def let_in(self, target: Pod, source: Pod | None) -> set[int | str]:
        """Ports of `target` that its own policies open to `source`, or to what is outside the namespace."""
        return _ports(self._rules(target, "Ingress"), "from", source, target)

    def let_out(self, source: Pod, target: Pod | None) -> set[int | str]:
        """Ports of `target`, or outside the namespace, that the policies of `source` let it ask."""
        return _ports(self._rules(source, "Egress"), "to", target, target or source)

    def _rules(self, pod: Pod, direction: str) -> list[Object]:
        policies = [
            policy["spec"]
            for policy in self.of("NetworkPolicy")
            if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], pod.labels)
        ]
        if not policies:
            return [{}]  # without a policy everything is allowed
        return [rule for policy in policies for rule in policy.get(direction.lower(), [])]


def selects(selector: Selector, labels: dict[str, str]) -> bool:
    """Whether a label selector means what bears `labels`."""
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def _ports(rules: list[Object], end: str, peer: Pod | None, target: Pod) -> set[int | str]:
    """Ports of `target` that `rules` open for `peer`; `peer` is None for what is outside."""
    found: set[int | str] = set()
    for rule in rules:
        peers = rule.get(end)
        if peers is None:
            is_meant = True
        elif peer is None:
            is_meant = any("namespaceSelector" in one for one in peers)
        else:
            is_meant = any("namespaceSelector" not in one and selects(one["podSelector"], peer.labels) for one in peers)
        if is_meant and "ports" not in rule:
            return {"all"}
        if is_meant:
            found |= {port for one in rule["ports"] if (port := target.port(one["port"])) is not None}
    return found


def _both(some: set[int | str], others: set[int | str]) -> set[int | str]:
    if "all" in some:
        return others
    return some if "all" in others else some & others


def render(kubectl: str, folder: Path) -> Manifests:
    """What is applied with `kubectl apply --kustomize FOLDER`."""
    done = subprocess.run([kubectl, "kustomize", str(folder)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Manifests(list(yaml.safe_load_all(done.stdout)))


def written(kubectl: str, root: Path, folder: Path, text: str) -> Manifests:
    """What an overlay that lies beside `deploy`, with `text` as its kustomization.yaml, renders to."""
    up = Path(*[".."] * len(folder.resolve().parts[1:]))
    (folder / "kustomization.yaml").write_text(
        text.replace("../deploy", str(up / root.resolve().relative_to("/") / "deploy"))
    )
    return render(kubectl, folder)


def composed(kubectl: str, root: Path, folder: Path, *components: str) -> Manifests:
    """The base with `components`, as an overlay in `folder` would choose them."""
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization"]
    lines += ["resources: [../deploy/kubernetes/base]"]
    lines += [f"components: [{', '.join(f'../deploy/kubernetes/components/{name}' for name in components)}]"]
    return written(kubectl, root, folder, "\n".join(lines))
