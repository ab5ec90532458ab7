"""What each pod of the manifests may do, write and see."""

import re
from pathlib import Path

import pytest
from manifests import RENDERED, TRAINERS, Manifests

from deploy.make_secrets import PREFIXES

pytestmark = pytest.mark.system


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


def test_autoscaler_is_as_confined_as_the_pod_that_it_joins(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["autoscaling"]
    options = manifests.get("RayCluster", "ray")["spec"]["autoscalerOptions"]
    head = manifests.pod("ray-head")
    assert options["securityContext"] == head.container["securityContext"]
    assert options["envFrom"] == head.container["envFrom"]
    volumes = {volume["name"] for volume in head.spec["volumes"]}
    assert {mount["name"] for mount in options["volumeMounts"]} == {"secrets", "tmp"} <= volumes
    assert "memory" in options["resources"]["limits"]


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


def _secrets(manifests: Manifests) -> dict[str, set[str]]:
    return {pod.name: pod.secrets() for pod in manifests.pods()}
