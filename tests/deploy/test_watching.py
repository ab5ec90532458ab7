"""What Prometheus is asked, by rules and dashboards: read by promtool, and nothing that nobody counts."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from watching import alerts, asked, recorded, rules

from services.metrics import METRICS, queue
from services.metrics.declared import Metric

Program = Callable[[str], str]

RELAYED = {metric.name for metric in vars(queue).values() if isinstance(metric, Metric)}
# What Prometheus and prometheus_client tell themselves.
OTHERS = {"ALERTS", "up", "scrape_duration_seconds", "scrape_samples_scraped"}
OF_PROCESSES = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
}


@pytest.fixture(scope="module")
def expressions(root: Path) -> dict[str, str]:
    return asked(root)


@pytest.fixture(scope="module")
def counted() -> dict[str, set[str]]:
    """Every series of ours as Prometheus names it, and its labels."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        for suffix in suffixes:
            found[metric.name + suffix] = {*metric.labels, *(["le"] if suffix == "_bucket" else [])}
    return found


def names_in(expression: str) -> set[str]:
    """Series that an expression asks for; what lies in quotes or braces is none."""
    without = re.sub(r"\{[^}]*\}|\"[^\"]*\"", "", expression)
    return set(re.findall(r"\b(?:unroll|process|scrape)_\w+|\bALERTS\b|\bup\b", without))


def test_every_metric_that_is_asked_for_is_counted(expressions: dict[str, str], counted: dict[str, set[str]]) -> None:
    asked_for = set().union(*map(names_in, expressions.values()))
    assert len(asked_for) > 60
    assert asked_for - set(counted) == OTHERS | OF_PROCESSES


def test_every_recorded_series_that_is_asked_for_is_recorded_and_each_is_asked_for(
    root: Path, expressions: dict[str, str]
) -> None:
    asked_for = {
        name
        for asker, expression in expressions.items()
        for name in re.findall(r"unroll:[\w:]+", expression)
        if asker != name
    }
    assert asked_for <= set(recorded(root))
    nobody_asks = {name for name in recorded(root) if name not in asked_for}
    assert nobody_asks == {
        "unroll:job_queue_wait_seconds:p95_rate15m",
        "unroll:job_time_to_first_step_seconds:p95_rate15m",
        "unroll:train_characters:rate5m",
        "unroll:train_step_duration_seconds:p95_rate5m",
        "unroll:sample_token_interval_seconds:p95_rate5m",
    }  # kept for long views and for alerts of one's own


def test_every_metric_but_few_is_shown_or_watched(expressions: dict[str, str]) -> None:
    asked_for = " ".join(expressions.values())
    unseen = {metric.name for metric in METRICS if metric.name not in asked_for}
    assert unseen == {"unroll_sampler_replicas"}


def test_every_label_that_is_asked_for_belongs_to_its_metric(
    expressions: dict[str, str], counted: dict[str, set[str]]
) -> None:
    by_prometheus = {"job", "instance", "alertstate"}
    for asker, expression in expressions.items():
        names = names_in(expression) & set(counted)
        of_metrics = set().union(by_prometheus, *(counted[name] for name in names))
        selected = re.findall(r"(\w+)\s*[=!]~?\s*\"", expression)
        grouped = [label for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(", ")]
        assert {*selected, *grouped} - of_metrics == set(), asker


def test_queue_and_trainers_are_not_summed_over_apps(expressions: dict[str, str]) -> None:
    """With several apps each of them tells the same."""
    for asker, expression in expressions.items():
        for found in re.finditer(r"unroll_\w+", expression):
            name = re.sub("_(bucket|count|sum)$", "", found[0])
            if name in RELAYED:
                before = expression[: found.start()]
                assert re.findall(r"\b(?:sum|max|count|avg|min)\b", before)[-1] == "max", asker


def test_what_each_process_counts_by_itself_is_summed_over_processes(expressions: dict[str, str]) -> None:
    """The longest-lived of two apps or samplers says nothing of the other."""
    own = {metric.name for metric in METRICS if metric.kind != "gauge"} - RELAYED
    for asker, expression in expressions.items():
        for found in re.finditer(r"unroll_\w+", expression):
            if re.sub("_(bucket|count|sum)$", "", found[0]) in own:
                before = expression[: found.start()]
                assert re.findall(r"\b(?:sum|max|count|avg|min)\b", before)[-1] == "sum", asker


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
    networks = {name: set(services[name]["networks"]) for name in ("prometheus", "app", "sampler", "dispatcher")}
    assert all("watch" in of_service for of_service in networks.values())


def test_every_alert_fires_in_one_case_and_not_in_another(root: Path) -> None:
    cases = yaml.safe_load((root / "deploy/prometheus/tests/alerts.yml").read_text())["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    fires = {check["alertname"] for check in checks if check["exp_alerts"]}
    is_silent = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert fires == is_silent == set(alerts(root))
    assert len(fires) == 20


def test_limit_on_a_quantile_is_a_bound_of_the_buckets_that_it_is_read_from(root: Path) -> None:
    """Between two bounds a quantile is guessed."""
    buckets = {metric.name: metric.buckets for metric in METRICS}
    limits = {
        name: (f"unroll_{found[1]}", float(found[2]))
        for name, rule in alerts(root).items()
        if (found := re.fullmatch(r"unroll:(\w+):p\d+_rate\w+ > ([\d.]+)", rule["expr"]))
    }
    assert set(limits) == {"UnrollAnswersSlow", "UnrollFirstTokenSlow"}
    assert [name for name, (metric, limit) in limits.items() if limit not in buckets[metric]] == []


def test_every_recording_rule_has_a_case_with_its_value(root: Path) -> None:
    cases = yaml.safe_load((root / "deploy/prometheus/tests/recording.yml").read_text())["tests"]
    assert {check["expr"] for case in cases for check in case["promql_expr_test"]} == set(recorded(root))


def test_every_alert_says_what_it_is_how_urgent_and_where_to_read_on(root: Path) -> None:
    for name, rule in alerts(root).items():
        assert set(rule["annotations"]) == {"summary", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})


@pytest.mark.system
def test_promtool_accepts_configuration_and_rules(root: Path, tmp_path: Path, program: Program) -> None:
    source = root / "deploy/prometheus"
    (tmp_path / "key").write_text("unroll-0")
    config = tmp_path / "prometheus.yml"
    config.write_text((source / "prometheus.yml").read_text().replace("/run/secrets/api_key", str(tmp_path / "key")))
    (tmp_path / "rules").symlink_to(source / "rules")
    told = _promtool(program, "check", "config", str(config))
    assert "2 rule files found" in told
    found = map(int, re.findall(r"SUCCESS: (\d+) rules found", told))
    assert sum(found) == len(rules(root))


@pytest.mark.system
@pytest.mark.parametrize("cases", ["alerts", "recording"])
def test_promtool_sees_alerts_fire_when_they_should_and_rules_record_what_they_say(
    root: Path, program: Program, cases: str
) -> None:
    assert "SUCCESS" in _promtool(program, "test", "rules", str(root / f"deploy/prometheus/tests/{cases}.yml"))


@pytest.mark.system
def test_promtool_reads_every_expression_of_rules_and_dashboards(
    expressions: dict[str, str], tmp_path: Path, program: Program
) -> None:
    read = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions.values())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": read}]}))
    assert f"SUCCESS: {len(expressions)} rules found" in _promtool(program, "check", "rules", str(path))


def _promtool(program: Program, *words: str) -> str:
    done = subprocess.run([program("promtool"), *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
