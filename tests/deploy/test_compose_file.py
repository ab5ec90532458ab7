"""docker-compose.yml as it is written: what each container may do, see and show."""

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import laid_over

from services.jobqueue.durability import REQUIRED
from services.settings import Settings

SERVICES = (
    "redis",
    "ray-head",
    "worker-cpu",
    "worker-gpu",
    "dispatcher",
    "app",
    "sampler",
    "prometheus",
    "grafana",
)
WITH_RAY = ("ray-head", "worker-cpu", "worker-gpu", "dispatcher")
OURS = (*WITH_RAY, "app", "sampler")

Compose = dict[str, Any]


def test_every_service_of_the_plan_is_there_and_no_other(compose: Compose) -> None:
    assert sorted(compose["services"]) == sorted(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_no_root_no_capability_and_nothing_to_write_on(compose: Compose, name: str) -> None:
    service = compose["services"][name]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_container_says_whether_it_is_healthy(compose: Compose, name: str) -> None:
    check = compose["services"][name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} < set(check)


def test_only_the_app_has_a_published_port_and_on_loopback_unasked(compose: Compose) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"app": ["${UNROLL_PUBLISH:-127.0.0.1}:8000:8000"]}


def test_networks_but_the_app_s_own_lead_nowhere_outside(compose: Compose) -> None:
    open_ones = [name for name, network in compose["networks"].items() if not network.get("internal")]
    assert open_ones == ["edge"]
    assert [name for name, service in compose["services"].items() if "edge" in service["networks"]] == ["app"]


def test_each_network_holds_those_that_talk_to_one_another(compose: Compose) -> None:
    members = {
        network: {name for name, service in compose["services"].items() if network in service["networks"]}
        for network in compose["networks"]
    }
    assert members == {
        "edge": {"app"},
        "queue": {"redis", "app", "dispatcher", "worker-cpu", "worker-gpu"},
        "ray": {"ray-head", "worker-cpu", "worker-gpu", "dispatcher"},
        "sampling": {"app", "sampler"},
        "watch": {"app", "sampler", "dispatcher", "prometheus", "grafana"},
    }


def test_dashboards_are_published_on_loopback_alone_where_asked_for(root: Path) -> None:
    laid_over = yaml.safe_load((root / "deploy/grafana/publish.yml").read_text())
    assert laid_over == {"services": {"grafana": {"networks": ["watch", "edge"], "ports": ["127.0.0.1:3000:3000"]}}}


def test_serve_makes_a_ray_driver_of_the_sampler_and_changes_nothing_else(compose: Compose, root: Path) -> None:
    other = yaml.safe_load((root / "deploy/serve.yml").read_text())["services"]
    assert list(other) == ["sampler"]
    plain = compose["services"]["sampler"]
    sampler = laid_over(plain, other["sampler"])
    dispatcher = compose["services"]["dispatcher"]
    assert sampler["command"][-1] == dispatcher["command"][-1].replace("workers.dispatcher", "services.sampling.front")
    assert importlib.util.find_spec("services.sampling.front") is not None
    ray = {name: value for name, value in dispatcher["environment"].items() if name.upper().startswith("RAY_")}
    assert sampler["environment"] == plain["environment"] | ray
    assert sampler["secrets"] == ["signing_secret", "ray_token"]
    assert sampler["networks"] == ["sampling", "watch", "ray"]
    assert sampler["depends_on"] == {"ray-head": {"condition": "service_healthy"}}
    taken = ("command", "environment", "secrets", "networks", "depends_on", "shm_size", "ulimits")
    assert {name for name in sampler if sampler[name] != plain.get(name)} <= set(taken)
    for name in ("worker-cpu", "worker-gpu"):
        replica = compose["services"][name]["environment"]
        assert plain["environment"].items() >= {k: v for k, v in replica.items() if k.startswith("UNROLL_")}.items()
        assert {"UNROLL_STORAGE", "UNROLL_SECRET_FILE"} <= set(replica)


def test_each_dependency_is_awaited(compose: Compose) -> None:
    awaited = {
        name: {needed: how["condition"] for needed, how in service.get("depends_on", {}).items()}
        for name, service in compose["services"].items()
    }
    healthy = "service_healthy"
    assert awaited == {
        "redis": {},
        "ray-head": {},
        "worker-cpu": {"ray-head": healthy, "redis": healthy},
        "worker-gpu": {"ray-head": healthy, "redis": healthy},
        "dispatcher": {"ray-head": healthy, "redis": healthy},
        "app": {"redis": healthy, "sampler": "service_started"},
        "sampler": {},
        "prometheus": {"app": healthy},
        "grafana": {"prometheus": healthy},
    }


def test_each_container_sees_the_secrets_it_needs_and_no_more(compose: Compose) -> None:
    seen = {
        name: {secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])}
        for name, service in compose["services"].items()
    }
    trainer = {"ray_token", "redis_password", "signing_secret"}
    assert seen == {
        "redis": {"redis_password"},
        "ray-head": {"ray_token"},
        "worker-cpu": trainer,
        "worker-gpu": trainer,
        "dispatcher": trainer,
        "app": {"redis_password", "signing_secret", "api_key"},
        "sampler": {"signing_secret"},
        "prometheus": {"api_key"},
        "grafana": {"grafana_password"},
    }


def test_secrets_are_files_that_git_does_not_know(compose: Compose, root: Path) -> None:
    assert {tuple(secret) for secret in compose["secrets"].values()} == {("file",)}
    paths = [secret["file"] for secret in compose["secrets"].values()]
    ignored = subprocess.run(
        ["git", "check-ignore", *paths], cwd=root, check=False, capture_output=True, text=True
    ).stdout.split()
    assert ignored == paths


def test_no_environment_holds_a_secret(compose: Compose) -> None:
    names = {name for service in compose["services"].values() for name in service.get("environment", {})}
    telling = {name for name in names if re.search("PASSWORD|SECRET|TOKEN|KEY", name)}
    assert telling == {
        "GF_SECURITY_ADMIN_PASSWORD__FILE",
        "RAY_AUTH_TOKEN_PATH",
        "REDIS_PASSWORD_FILE",
        "UNROLL_SECRET_FILE",
    }


@pytest.mark.parametrize("name", WITH_RAY)
def test_ray_asks_for_its_token_everywhere_and_has_memory_to_share(compose: Compose, name: str) -> None:
    service = compose["services"][name]
    environment = service["environment"]
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
    assert environment["RAY_worker_niceness"] == "0"
    store = int(re.findall(r"--object-store-memory=(\d+)", " ".join(service["command"]))[0])
    assert service["shm_size"] == "512mb"
    assert store < 512 << 20


def test_head_and_dispatcher_seat_no_trainer(compose: Compose) -> None:
    for name in ("ray-head", "dispatcher"):
        words = " ".join(compose["services"][name]["command"])
        assert "--num-cpus=0" in words
        assert "--num-gpus=0" in words
    for name in ("worker-cpu", "worker-gpu"):
        assert "--num-" not in " ".join(compose["services"][name]["command"])


def test_ray_keeps_off_the_port_of_redis(compose: Compose) -> None:
    words = [word for service in compose["services"].values() for word in service.get("command", [])]
    assert "--port=6380" in words
    assert not [word for word in words if "ray" in word and "6379" in word]


def test_redis_keeps_what_it_acknowledges(compose: Compose) -> None:
    command = " ".join(compose["services"]["redis"]["command"])
    for name, value in REQUIRED.items():
        assert f"--{name} {value} " in command
    assert "requirepass $$(cat /run/secrets/redis_password)" in command


def test_gpu_is_reserved_in_its_profile_alone(compose: Compose) -> None:
    with_profile = [name for name, service in compose["services"].items() if "profiles" in service]
    assert with_profile == ["worker-gpu"]
    worker = compose["services"]["worker-gpu"]
    assert worker["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    ]
    assert worker["build"]["args"] == {"UNROLL_TORCH_INDEX": ""}
    assert worker["image"] != compose["services"]["worker-cpu"]["image"]


def test_storage_is_one_volume_that_the_sampler_only_reads(compose: Compose) -> None:
    mounted = {
        name: volume
        for name, service in compose["services"].items()
        for volume in service.get("volumes", [])
        if volume.startswith("storage:")
    }
    path = compose["services"]["app"]["environment"]["UNROLL_STORAGE"]
    written = f"storage:{path}"
    writers = ("app", "dispatcher", "worker-cpu", "worker-gpu")
    assert mounted == dict.fromkeys(writers, written) | {"sampler": f"{written}:ro"}


def test_every_volume_and_network_that_is_named_is_used(compose: Compose) -> None:
    services = compose["services"].values()
    mounted = {volume.partition(":")[0] for service in services for volume in service.get("volumes", [])}
    assert {source for source in mounted if not source.startswith(".")} == set(compose["volumes"])
    assert {network for service in services for network in service["networks"]} == set(compose["networks"])


def test_folders_handed_in_exist_and_are_read_only(compose: Compose, root: Path) -> None:
    handed = [
        volume
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    assert len(handed) == 3
    for volume in handed:
        source, _, mode = volume.split(":")
        assert (root / source).is_dir()
        assert mode == "ro"


def test_settings_know_every_variable_of_ours(compose: Compose) -> None:
    known = {field.validation_alias for field in Settings.model_fields.values()}
    given = {name for service in compose["services"].values() for name in service.get("environment", {})}
    assert {name for name in given if name.startswith(("UNROLL_", "REDIS_"))} - known == set()
    assert "UNROLL_STORAGE" in given


@pytest.mark.parametrize("name", OURS)
def test_modules_that_are_started_exist(compose: Compose, name: str) -> None:
    command = " ".join(compose["services"][name]["command"])
    modules = re.findall(r"-m ([\w.]+)", command)
    assert modules or "ray start" in command
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_ways_in_hand_over_to_the_process_that_is_meant(compose: Compose) -> None:
    shells = {name: s["command"][2] for name, s in compose["services"].items() if s.get("command", [""])[0] == "sh"}
    assert {name: re.findall(r"^ *exec (\S+)", script, re.M) for name, script in shells.items()} == {
        "redis": ["redis-server"],
        "dispatcher": ["python"],
    }
