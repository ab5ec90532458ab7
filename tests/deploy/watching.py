"""What Prometheus and Grafana are asked, as the files that are deployed say it."""

import json
from pathlib import Path
from typing import Any

import yaml

RULES = Path("deploy/prometheus/rules")
DASHBOARDS = Path("deploy/grafana/dashboards")
# Grafana's own variables, as they would be filled in.
_FILLED = {"$__rate_interval": "15s", "$job_id": ".*"}


def rules(root: Path) -> list[dict[str, Any]]:
    """Every rule."""
    read = [yaml.safe_load(path.read_text()) for path in sorted((root / RULES).glob("*.yml"))]
    return [rule for file in read for group in file["groups"] for rule in group["rules"]]


def alerts(root: Path) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules(root) if "alert" in rule}


def recorded(root: Path) -> dict[str, str]:
    """Name of each recording rule -> its expression."""
    return {rule["record"]: rule["expr"] for rule in rules(root) if "record" in rule}


def dashboards(root: Path) -> dict[str, dict[str, Any]]:
    """Every dashboard by its file's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((root / DASHBOARDS).glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something: rows left out, what lies in them not."""
    found = [inner for panel in dashboard["panels"] for inner in (panel, *(panel.get("panels") or []))]
    return [panel for panel in found if panel["type"] != "row"]


def asked_by_panels(root: Path) -> dict[str, str]:
    """Every expression of the dashboards with its variables filled in, by who asks it."""
    found = {}
    for name, dashboard in dashboards(root).items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in _FILLED.items():
                    expression = expression.replace(variable, value)
                found[f"{name} / {panel['title']} / {target['refId']}"] = expression
    return found


def asked(root: Path) -> dict[str, str]:
    """Every expression of rules and dashboards, by who asks it."""
    of_rules = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules(root)}
    return of_rules | asked_by_panels(root)
