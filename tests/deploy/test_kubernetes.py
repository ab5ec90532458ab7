"""The manifests as they are rendered: valid, and what each pod may do, see, show and reach. No cluster is needed."""

import argparse
import importlib.util
import re
import shlex
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
from manifests import Manifests, composed, render, selects, written

from deploy.make_secrets import PREFIXES
from deploy.prometheus.build import manifest
from services.jobqueue.durability import REQUIRED
from services.operations import add_commands
from services.settings import Settings

pytestmark = pytest.mark.system

KUBERNETES = "1.37"
COMPONENTS = ("autoscaling", "external-redis", "gpu", "monitoring", "s3", "serve")
OVERLAYS = ("cloud", "single-gpu")
RENDERED = ("base", *COMPONENTS, *OVERLAYS, "everything")
OURS = ("app", "dispatcher", "ray-head", "sampler", "trainer-cpu", "trainer-gpu")
TRAINERS = ("trainer-cpu", "trainer-gpu")
WITH_RAY = ("dispatcher", "ray-head", *TRAINERS)

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


@pytest.fixture(scope="module")
def rendered(
    root: Path, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Manifests]:
    """The base, alone and with each component, with all of them, and every overlay."""
    kubectl = program("kubectl")
    chosen: dict[str, tuple[str, ...]] = {"base": (), "everything": COMPONENTS} | {one: (one,) for one in COMPONENTS}
    found = {
        name: composed(kubectl, root, tmp_path_factory.mktemp(name), *components) for name, components in chosen.items()
    }
    return found | {name: render(kubectl, root / "deploy/kubernetes/overlays" / name) for name in OVERLAYS}


@pytest.fixture
def base(rendered: dict[str, Manifests]) -> Manifests:
    return rendered["base"]


def test_no_component_and_no_overlay_is_left_out_here_or_in_the_guide(root: Path) -> None:
    kubernetes = root / "deploy/kubernetes"
    assert sorted(path.name for path in (kubernetes / "components").iterdir()) == sorted(COMPONENTS)
    assert sorted(path.name for path in (kubernetes / "overlays").iterdir()) == sorted(OVERLAYS)
    guide = (root / "docs/cluster.md").read_text()
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


@pytest.mark.parametrize("name", RENDERED)
def test_pod_has_no_root_no_capability_and_nothing_to_write_on(rendered: dict[str, Manifests], name: str) -> None:
    for pod in rendered[name].pods():
        who, may = pod.spec["securityContext"], pod.container["securityContext"]
        assert who["runAsNonRoot"] is True
        assert who["runAsUser"] == who["runAsGroup"] == (999 if pod.name == "redis" else 10001)
        assert who["seccompProfile"] == {"type": "RuntimeDefault"}
        assert may == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        kinds = {kind for volume in pod.spec["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds <= {"secret", "emptyDir", "persistentVolumeClaim"}
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod.spec["volumes"] if "emptyDir" in volume)
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "serviceAccountName"} & pod.spec.keys()
        assert "hostPort" not in str(pod.container["ports"])
        assert pod.container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in pod.container["resources"]["limits"]


def test_namespace_lets_in_nothing_less_restricted(base: Manifests) -> None:
    (namespace,) = base.of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"]["namespace"] for one in base.objects if one is not namespace} == {"unroll"}


@pytest.mark.parametrize("name", RENDERED)
def test_only_an_autoscaler_has_a_token_of_the_kubernetes_api(rendered: dict[str, Manifests], name: str) -> None:
    manifests = rendered[name]
    with_token = {pod.name for pod in manifests.pods() if pod.spec["automountServiceAccountToken"] is not False}
    scales = manifests.get("RayCluster", "ray")["spec"].get("enableInTreeAutoscaling", False)
    assert with_token == ({"ray-head"} if scales else set())
    assert [kind for kind in ("ServiceAccount", "Role", "ClusterRole", "RoleBinding") if manifests.of(kind)] == []
    # Kubernetes would tell of services in variables, and ours begin with the names of services.
    assert {pod.spec["enableServiceLinks"] for pod in manifests.pods()} == {False}


def test_each_pod_sees_the_secrets_it_needs_and_no_more(rendered: dict[str, Manifests]) -> None:
    trainer = {"ray_token", "redis_password", "signing_secret"}
    needed = {
        "app": {"api_key", "redis_password", "signing_secret"},
        "dispatcher": trainer,
        "ray-head": {"ray_token"},
        "redis": {"redis_password"},
        "sampler": {"signing_secret"},
        "trainer-cpu": trainer,
        "trainer-gpu": trainer,
    }
    assert _secrets(rendered["base"]) == needed
    assert _secrets(rendered["serve"]) == needed | {"sampler": {"ray_token", "signing_secret"}}
    reads = ("app", "dispatcher", "sampler", *TRAINERS)
    assert _secrets(rendered["s3"]) == needed | {pod: needed[pod] | {"s3_credentials"} for pod in reads}


@pytest.mark.parametrize("name", RENDERED)
def test_secrets_are_files_of_one_secret_that_no_manifest_holds(rendered: dict[str, Manifests], name: str) -> None:
    manifests = rendered[name]
    assert manifests.of("Secret") == []
    assert "secretKeyRef" not in str(manifests.objects)
    assert "secretRef" not in str(manifests.objects)
    for pod in manifests.pods():
        assert pod.secrets() <= {*PREFIXES, "s3_credentials"}
        mounted = [volume["secret"] for volume in pod.spec["volumes"] if "secret" in volume]
        assert {(secret["secretName"], secret["defaultMode"]) for secret in mounted} <= {("unroll", 0o440)}
        telling = {one for one in pod.environment(manifests) if re.search("PASSWORD|SECRET|TOKEN|KEY|CREDENTIALS", one)}
        assert telling <= {
            "AWS_SHARED_CREDENTIALS_FILE",
            "RAY_AUTH_TOKEN_PATH",
            "REDIS_PASSWORD_FILE",
            "UNROLL_SECRET_FILE",
        }


@pytest.mark.parametrize("name", RENDERED)
def test_every_file_that_a_variable_names_lies_in_the_container(rendered: dict[str, Manifests], name: str) -> None:
    """The head alone is told of secrets that only those use who come to it."""
    for pod in rendered[name].pods():
        lying = {
            f"{mount['mountPath']}/{item['path']}"
            for mount in pod.container["volumeMounts"]
            for volume in pod.spec["volumes"]
            if volume["name"] == mount["name"] and "secret" in volume
            for item in volume["secret"]["items"]
        }
        named = {value for value in pod.environment(rendered[name]).values() if value.startswith("/run/secrets/")}
        missing = {Path(path).name for path in named - lying}
        assert missing <= ({"signing_secret", "s3_credentials"} if pod.name == "ray-head" else set()), pod.name


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


def test_rules_of_the_operator_are_those_that_are_tested(root: Path) -> None:
    """`python -m deploy.prometheus.build` writes them."""
    assert (root / "deploy/kubernetes/components/monitoring/rules.yaml").read_text() == manifest()


def test_outside_the_namespace_is_monitoring_but_for_the_app(base: Manifests) -> None:
    for policy in base.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            outside = [one["namespaceSelector"] for one in rule.get("from", []) if "namespaceSelector" in one]
            assert outside in ([], [{"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}])
            if "from" not in rule:
                assert (policy["metadata"]["name"], rule) == ("app", {"ports": [{"port": "http"}]})
    assert {one["spec"].get("type", "ClusterIP") for one in base.of("Service")} == {"ClusterIP"}
    assert base.of("Ingress") == []


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


def test_commands_are_those_of_compose(base: Manifests, compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in ("app", "sampler"):
        assert base.pod(name).container["command"] == services[name]["command"]
    script = services["redis"]["command"][-1].replace("$$", "$").replace("/run/secrets/", "/run/secrets/unroll/")
    assert base.pod("redis").container["command"] == [*services["redis"]["command"][:-1], script]
    for pod in base.pods():
        service = {"trainer-cpu": "worker-cpu", "trainer-gpu": "worker-gpu"}.get(pod.name, pod.name)
        assert pod.container["image"] == services[service]["image"]


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


def test_storage_is_one_volume_that_the_sampler_only_reads(rendered: dict[str, Manifests]) -> None:
    def mounted(manifests: Manifests) -> dict[str, tuple[str, bool]]:
        return {
            pod.name: (mount["mountPath"], mount.get("readOnly", False))
            for pod in manifests.pods()
            for mount in pod.container["volumeMounts"]
            if mount["name"] == "storage"
        }

    path = rendered["base"].get("ConfigMap", "settings")["data"]["UNROLL_STORAGE"]
    writes = dict.fromkeys(("app", "dispatcher", *TRAINERS), (path, False))
    assert mounted(rendered["base"]) == writes | {"sampler": (path, True)}
    assert mounted(rendered["serve"]) == writes
    assert mounted(rendered["s3"]) == {}
    assert rendered["s3"].of("PersistentVolumeClaim") == []
    assert rendered["s3"].get("ConfigMap", "settings")["data"]["UNROLL_STORAGE"].startswith("s3://")
    assert rendered["base"].get("PersistentVolumeClaim", "storage")["spec"]["accessModes"] == ["ReadWriteMany"]


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


def test_settings_know_every_variable_of_ours(rendered: dict[str, Manifests]) -> None:
    known = {field.validation_alias for field in Settings.model_fields.values()}
    for manifests in rendered.values():
        given = {name for pod in manifests.pods() for name in pod.environment(manifests)}
        assert {name for name in given if name.startswith(("UNROLL_", "REDIS_"))} - known == set()


def test_an_image_of_another_registry_reaches_every_pod(rendered: dict[str, Manifests]) -> None:
    images = {pod.name: pod.container["image"] for pod in rendered["cloud"].pods()}
    registry = "registry.example.org/unroll-server"
    assert images == dict.fromkeys(OURS, f"{registry}:0.1.0") | {"trainer-gpu": f"{registry}-gpu:0.1.0"}


def test_overlay_of_the_guide_renders(root: Path, tmp_path: Path, program: Callable[[str], str]) -> None:
    (text,) = re.findall(
        r"^ *# my-lab/kustomization.yaml\n(.*?)^ *```", (root / "docs/cluster.md").read_text(), re.M | re.S
    )
    manifests = written(program("kubectl"), root, tmp_path, textwrap.dedent(text))
    assert manifests.get("PersistentVolumeClaim", "storage")["spec"]["storageClassName"] == "nfs"
    assert manifests.pod("app").environment(manifests)["UNROLL_ALLOWED_HOSTS"] == "app,unroll.example.org"
    assert manifests.pod("trainer-gpu").container["image"] == "registry.example.org/unroll-server-gpu:0.1.0"


def test_autoscaler_is_as_confined_as_the_pod_that_it_joins(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["autoscaling"]
    options = manifests.get("RayCluster", "ray")["spec"]["autoscalerOptions"]
    head = manifests.pod("ray-head")
    assert options["securityContext"] == head.container["securityContext"]
    assert options["envFrom"] == head.container["envFrom"]
    volumes = {volume["name"] for volume in head.spec["volumes"]}
    assert {mount["name"] for mount in options["volumeMounts"]} == {"secrets", "tmp"} <= volumes
    assert "memory" in options["resources"]["limits"]


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


def test_autoscaled_cluster_takes_jobs_of_as_many_workers_as_it_may_have(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["autoscaling"]
    groups = manifests.get("RayCluster", "ray")["spec"]["workerGroupSpecs"]
    most = manifests.get("ConfigMap", "settings")["data"]["UNROLL_MAX_WORKERS"]
    assert int(most) == sum(group["maxReplicas"] for group in groups)


def _secrets(manifests: Manifests) -> dict[str, set[str]]:
    return {pod.name: pod.secrets() for pod in manifests.pods()}


def _faults(given: Any, fields: Any, at: str = "spec") -> list[str]:
    """What of `given` is no field of `fields`, or not of its type."""
    if isinstance(fields, type):
        return [] if type(given) is fields else [f"{at} is no {fields.__name__}"]
    if isinstance(fields, list):
        return [fault for number, one in enumerate(given) for fault in _faults(one, fields[0], f"{at}[{number}]")]
    unknown = [f"{at}.{name} is unknown" for name in given.keys() - fields.keys()]
    known = given.keys() & fields.keys()
    return unknown + [fault for name in known for fault in _faults(given[name], fields[name], f"{at}.{name}")]
