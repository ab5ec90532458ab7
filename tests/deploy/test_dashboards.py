"""The dashboards as they are written: how panels lie, and that unit, legend, limit and colour say what is asked."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from watching import alerts, dashboards, panels, recorded

from deploy.grafana.build import dashboards as built

BOARDS = ["overview", "training", "sampling", "infrastructure"]


def every_panel(root: Path) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Its name, the panel, and what it asks."""
    for name, dashboard in dashboards(root).items():
        for panel in panels(dashboard):
            yield f"{name} / {panel['title']}", panel, [target["expr"] for target in panel["targets"]]


def test_dashboards_are_what_their_source_makes(root: Path) -> None:
    """`python -m deploy.grafana.build` writes them."""
    folder = root / "deploy" / "grafana" / "dashboards"
    assert {path.name: path.read_text() for path in folder.iterdir()} == built()
    assert set(built()) == {f"{name}.json" for name in BOARDS}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_side_by_side_and_say_what_they_show(root: Path, name: str) -> None:
    dashboard = dashboards(root)[name]
    taken: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place.get("x", 0), place.get("x", 0) + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["description"].endswith(".")
        assert panel["targets"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert ids == list(range(1, len(ids) + 1))
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(titles) == len(set(titles)) > 5


def test_dashboards_ask_the_source_that_is_provisioned(root: Path, compose: dict[str, Any]) -> None:
    provisioning = root / "deploy/grafana/provisioning"
    source = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"][0]
    targets = [target for one in dashboards(root).values() for panel in panels(one) for target in panel["targets"]]
    assert {target["datasource"]["uid"] for target in targets} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    folder = yaml.safe_load((provisioning / "dashboards/unroll.yml").read_text())["providers"][0]["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in compose["services"]["grafana"]["volumes"]
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/overview.json"


def test_unit_of_a_panel_is_that_of_what_it_asks(root: Path) -> None:
    for name, panel, expressions in every_panel(root):
        assert {panel["fieldConfig"]["defaults"]["unit"]} == set(map(unit_of, expressions)), name


def unit_of(expression: str) -> str:
    """Grafana's name of the unit in which the names of the series end."""
    if re.search(r"_ratio\b|:\w*ratio", expression):
        return "percentunit"
    if re.search(r"_bytes(_total)?\b|:bytes\b", expression):
        return "bytes"
    return "s" if re.search(r"_seconds(_bucket)?\b", expression) else "short"


def test_panel_says_in_which_time_its_rates_are_counted(root: Path) -> None:
    """A rate is by the second; times 60 it is by the minute."""
    seen = set()
    for name, panel, expressions in every_panel(root):
        told = f"{panel['title']} {panel['description']}"
        for expression in expressions:
            if re.search("quantile| / |process_cpu", expression):
                continue
            if "rate(" in expression:
                time = "a minute" if expression.startswith("60 * ") else "a second"
            elif found := re.search(r"increase\(.*\[(\w+)\]", expression):
                time = {"5m": "within five minutes", "1h": "an hour"}[found[1]]
            else:
                continue
            seen.add(time)
            assert time in told.lower(), name
    assert seen == {"a minute", "a second", "within five minutes", "an hour"}


def test_legend_names_labels_that_are_left(root: Path) -> None:
    for name, panel, _ in every_panel(root):
        for target in panel["targets"]:
            asked = recorded(root).get(target["expr"], target["expr"])
            left = {label for labels in re.findall(r"by \(([^)]*)\)", asked) for label in labels.split(", ")}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= left, name


def test_number_is_red_on_the_side_where_something_is_wrong(root: Path) -> None:
    limits = {
        panel["title"]: [(step.get("value"), step["color"]) for step in defaults["thresholds"]["steps"]]
        for panel in panels(dashboards(root)["overview"])
        if len((defaults := panel["fieldConfig"]["defaults"]).get("thresholds", {}).get("steps", [])) > 1
    }
    assert limits == {
        "Alerts": [(None, "green"), (1, "red")],
        "Processes": [(None, "red"), (3, "green")],
        "Warm trainers": [(None, "red"), (1, "green")],
        "Longest wait": [(None, "green"), (21_600, "red")],
        "Drained": [(None, "green"), (1, "red")],
    }
    (alerted,) = re.findall(r"age_seconds\) > (\d+)", alerts(root)["UnrollQueueOld"]["expr"])
    assert limits["Longest wait"][1][0] == int(alerted)


def test_outcome_has_the_same_colour_everywhere_and_red_is_what_failed(root: Path) -> None:
    colours: dict[str, set[str]] = {}
    for _, panel, _ in every_panel(root):
        for override in panel["fieldConfig"].get("overrides", []):
            (drawn,) = override["properties"]
            colours.setdefault(override["matcher"]["options"], set()).add(drawn["value"]["fixedColor"])
    assert all(len(found) == 1 for found in colours.values())
    assert {outcome for outcome, found in colours.items() if found == {"red"}} == {"failed", "5xx", "overloaded"}
    assert {outcome for outcome, found in colours.items() if found == {"green"}} == {"succeeded", "ok", "2xx"}
