"""Prometheus and Grafana as they are written: read by promtool, and asking for nothing that nobody counts."""

import asyncio
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric
from services.exporter.table import METRICS

from services.sampling.sampler import Sampler
from services.settings import Settings
from workers.dispatcher import CLAIMS, TRAINERS

Program = Callable[[str], str]

RATE_INTERVAL = "$__rate_interval"


@pytest.fixture(scope="module")
def dashboard(root: Path) -> dict[str, Any]:
    """The overview."""
    read: dict[str, Any] = json.loads((root / "deploy/grafana/dashboards/overview.json").read_text())
    return read


@pytest.fixture(scope="module")
def expressions(root: Path, dashboard: dict[str, Any]) -> dict[str, str]:
    """Every expression of rules and dashboards, by who asks it."""
    found = {
        rule["alert"]: rule["expr"]
        for path in (root / "deploy/prometheus/rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series of ours as Prometheus names it, and its labels."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        for suffix in suffixes:
            found[metric.name + suffix] = {*metric.labels, *(["le"] if suffix == "_bucket" else [])}
    settings = Settings(UNROLL_HOME=tmp_path_factory.mktemp("home"))
    families = [family for one in (CLAIMS, TRAINERS) for family in one.describe()]
    labels = {"unroll_dispatcher_claims": {"start"}, "unroll_trainers": {"state"}}
    labels |= {"unroll_sample_requests": {"outcome", "stream"}}
    for family in (*families, *asyncio.run(_families_of_the_sampler(settings))):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        for suffix in suffixes:
            found[family.name + suffix] = labels.get(family.name, set()) | ({"le"} if suffix == "_bucket" else set())
    return found


async def _families_of_the_sampler(settings: Settings) -> list[Metric]:
    sampler = Sampler(settings)
    try:
        return list(sampler.registry.collect())
    finally:
        sampler.close()


def test_every_metric_that_is_asked_for_is_counted(expressions: dict[str, str], counted: dict[str, set[str]]) -> None:
    asked = {name for expression in expressions.values() for name in re.findall(r"unroll_\w+", expression)}
    assert len(asked) > 20
    assert asked - set(counted) == set()


def test_every_label_that_is_asked_for_belongs_to_its_metric(
    expressions: dict[str, str], counted: dict[str, set[str]]
) -> None:
    for asker, expression in expressions.items():
        names = re.findall(r"unroll_\w+", expression)
        of_metrics = set().union({"job"}, *(counted[name] for name in names))
        selected = re.findall(r"(\w+)\s*=~?\s*\"", expression)
        grouped = [label for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(", ")]
        assert {*selected, *grouped} - of_metrics == set(), asker


def test_queue_and_trainers_are_not_summed_over_apps(expressions: dict[str, str]) -> None:
    """With several apps each of them tells the same."""
    relayed = {
        metric.name for metric in METRICS if metric.name.startswith(("unroll_queue", "unroll_job", "unroll_train_"))
    }
    for asker, expression in expressions.items():
        for name in set(re.findall(r"unroll_\w+", expression)) & relayed:
            before = expression[: expression.index(name)]
            assert re.findall(r"\b(?:sum|max|count|avg)\b", before)[-1] == "max", asker


def test_panels_lie_side_by_side_and_say_what_they_show(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith(".")
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_dashboard_asks_the_source_that_is_provisioned(
    root: Path, compose: dict[str, Any], dashboard: dict[str, Any]
) -> None:
    provisioning = root / "deploy/grafana/provisioning"
    source = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"][0]
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert {target["datasource"]["uid"] for target in targets} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    folder = yaml.safe_load((provisioning / "dashboards/unroll.yml").read_text())["providers"][0]["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in compose["services"]["grafana"]["volumes"]


def test_prometheus_asks_where_compose_has_them_listen(root: Path, compose: dict[str, Any]) -> None:
    config = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    targets = {one["job_name"]: one["static_configs"][0]["targets"] for one in config["scrape_configs"]}
    services = compose["services"]
    app, dispatcher = services["app"]["environment"], services["dispatcher"]["environment"]
    assert targets == {
        "app": [f"app:{app['UNROLL_PORT']}"],
        "sampler": [app["UNROLL_SAMPLER_URL"].removeprefix("http://")],
        "dispatcher": [f"dispatcher:{dispatcher['UNROLL_DISPATCHER_METRICS_PORT']}"],
        "prometheus": ["127.0.0.1:9090"],
    }
    assert app["UNROLL_ALLOWED_HOSTS"].split(",")[0] == "app"


def test_every_alert_is_seen_to_fire_and_says_what_to_do(root: Path) -> None:
    rules = yaml.safe_load((root / "deploy/prometheus/rules/alerts.yml").read_text())["groups"]
    alerts = {rule["alert"]: rule for group in rules for rule in group["rules"]}
    tests = (root / "deploy/prometheus/tests/alerts.yml").read_text()
    for name, rule in alerts.items():
        assert set(rule["annotations"]) == {"summary", "action"}
        assert f"alertname: {name}\n" in tests or f'alertname="{name}", alertstate="firing"' in tests


@pytest.mark.system
def test_promtool_accepts_configuration_and_rules(root: Path, tmp_path: Path, program: Program) -> None:
    source = root / "deploy/prometheus"
    (tmp_path / "key").write_text("unroll-0")
    config = tmp_path / "prometheus.yml"
    config.write_text((source / "prometheus.yml").read_text().replace("/run/secrets/api_key", str(tmp_path / "key")))
    (tmp_path / "rules").symlink_to(source / "rules")
    told = _promtool(program, "check", "config", str(config))
    assert "1 rule files found" in told
    assert re.search(r"SUCCESS: \d+ rules found", told)


@pytest.mark.system
def test_promtool_sees_each_alert_fire_when_it_should(root: Path, program: Program) -> None:
    assert "SUCCESS" in _promtool(program, "test", "rules", str(root / "deploy/prometheus/tests/alerts.yml"))


@pytest.mark.system
def test_promtool_reads_every_expression_of_the_dashboard(
    expressions: dict[str, str], tmp_path: Path, program: Program
) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace(RATE_INTERVAL, "1m")}
        for number, expression in enumerate(expressions.values())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(expressions)} rules found" in _promtool(program, "check", "rules", str(path))


def _promtool(program: Program, *words: str) -> str:
    done = subprocess.run([program("promtool"), *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
