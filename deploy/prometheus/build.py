"""Writes what follows from the declared metrics and the rules: `python -m deploy.prometheus.build`.

The table of metrics in docs/monitoring.md, and the rules as the object that Prometheus' operator reads.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from services.metrics import METRICS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "monitoring.md"
RULES = ROOT / "deploy" / "prometheus" / "rules"
MANIFEST = ROOT / "deploy" / "kubernetes" / "components" / "monitoring" / "rules.yaml"


def page(text: str) -> str:
    """The page with the tables of all alerts and of all metrics as they are declared."""
    for name, table in (("alerts", _alerts()), ("metrics", _metrics())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}{table}{end}{after}"
    return text


def manifest() -> str:
    """All rules as one PrometheusRule."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "unroll", "labels": {"app.kubernetes.io/part-of": "unroll"}},
        "spec": {"groups": _groups()},
    }
    told = "# Written by `python -m deploy.prometheus.build` from deploy/prometheus/rules.\n"
    return told + yaml.safe_dump(rule, sort_keys=False, width=120)


def _groups() -> list[dict[str, Any]]:
    return [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]


def _alerts() -> str:
    lines = ["| alert | urgency | what it says |", "|---|---|---|"]
    for rule in (rule for group in _groups() for rule in group["rules"] if "alert" in rule):
        name, urgency = rule["alert"], rule["labels"]["severity"]
        text = re.sub(
            r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}", lambda found: found[1].upper(), rule["annotations"]["summary"]
        )
        lines.append(f"| [{name}](runbooks/{name}.md) | {urgency} | {text} |")
    return "\n".join(lines) + "\n"


def _metrics() -> str:
    lines = ["| metric | kind | labels | told by | what |", "|---|---|---|---|---|"]
    for metric in sorted(METRICS):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.teller} | {metric.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    MANIFEST.write_text(manifest())
