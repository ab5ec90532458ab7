"""What the dashboards are made of: sections of panels, each a title, a sentence and what is asked of Prometheus."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.dashboard import Threshold as ThresholdModel

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
GOOD, BAD, WARN, CALM = "green", "red", "orange", "blue"
# The same outcome has the same colour in every panel.
COLORS = {
    "succeeded": GOOD,
    "ok": GOOD,
    "2xx": GOOD,
    "running": CALM,
    "busy": CALM,
    "failed": BAD,
    "5xx": BAD,
    "overloaded": BAD,
    "4xx": WARN,
    "refused": WARN,
}
_REFERENCES = "ABCDEFGH"


class Query(NamedTuple):
    """An expression, and how its series are called ({{label}} stands for a label's value)."""

    expression: str
    legend: str


class Stat(NamedTuple):
    """One number. From `limit` on it is told in red (below it, where `is_least`)."""

    title: str
    description: str
    query: Query
    unit: str = "short"
    limit: float | None = None
    is_least: bool = False
    shows_name: bool = False


class Lines(NamedTuple):
    """Curves over time."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    is_stacked: bool = False
    is_log: bool = False
    most: float | None = None


class Section(NamedTuple):
    """A row of the dashboard. `width` of 24 columns for each panel."""

    title: str
    panels: Sequence[Stat | Lines]
    width: int = 8


def board(
    uid: str, title: str, description: str, sections: Sequence[Section], variables: Sequence[str] = ()
) -> Dashboard:
    """A dashboard. `variables` are labels of `unroll_train_loss` that one may choose values of."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["unroll"])
        .editable()
        .refresh("15s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Unroll")
            .type("dashboards")  # type: ignore[arg-type]  # its enum, by value
            .tags(["unroll"])
            .include_vars(True)
            .keep_time(True)
            .as_dropdown(False)
        )
    )
    for label in variables:
        made.with_variable(
            dashboard.QueryVariable(label)
            .label(label)
            .query(f"label_values(unroll_train_loss, {label})")
            .datasource(SOURCE)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .refresh(2)  # type: ignore[arg-type]  # whenever the range of time changes
        )
    numbers = count(1)
    for section in sections:
        made.with_row(dashboard.Row(section.title).id(next(numbers)))
        for panel in section.panels:
            drawn = _stat(panel) if isinstance(panel, Stat) else _lines(panel)
            height = 4 if isinstance(panel, Stat) else 8
            made.with_panel(drawn.id(next(numbers)).span(section.width).height(height))
    return made.build()


def quantiles(
    metric: str, legend: str = "", *, by: str = "", over: str = "sum", qs: Sequence[float] = (0.5, 0.95)
) -> list[Query]:
    """Quantiles of a histogram. `over` is how instances are put together: `max` where each tells the same."""
    labels = f"le, {by}" if by else "le"
    return [
        Query(
            f"histogram_quantile({q}, {over} by ({labels}) (rate({metric}_bucket[$__rate_interval])))",
            f"{legend} p{q * 100:g}".strip(),
        )
        for q in qs
    ]


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().datasource(SOURCE).expr(query.expression).legend_format(query.legend).ref_id(name)
        for name, query in zip(_REFERENCES, queries, strict=False)
    ]


def _stat(panel: Stat) -> stat.Panel:
    drawn = (
        stat.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(BigValueColorMode.NONE if panel.limit is None else BigValueColorMode.VALUE)
        .thresholds(_thresholds(panel))
        .with_target(*_targets([panel.query]))
    )
    return drawn.text_mode("name") if panel.shows_name else drawn  # type: ignore[arg-type]  # its enum, by value


def _thresholds(panel: Stat) -> dashboard.ThresholdsConfig:
    steps = [ThresholdModel(value=None, color=BAD if panel.is_least else GOOD)]
    if panel.limit is not None:
        steps.append(ThresholdModel(value=panel.limit, color=GOOD if panel.is_least else BAD))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Lines) -> timeseries.Panel:
    drawn = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(25 if panel.is_stacked else 5)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if panel.is_log:
        drawn.scale_distribution(common.ScaleDistributionConfig().type("log").log(10))  # type: ignore[arg-type]  # its enum, by value
    else:
        drawn.min(0)
    if panel.most is not None:
        drawn.max(panel.most)
    if panel.is_stacked:
        drawn.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for target in _targets(panel.queries):
        drawn.with_target(target)
    for name, color in _colors(panel.queries).items():
        drawn.override_by_name(name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})])
    return drawn


def _colors(queries: Sequence[Query]) -> Mapping[str, str]:
    shows_outcomes = any(query.legend in ("{{outcome}}", "{{state}}", "{{status_class}}") for query in queries)
    return COLORS if shows_outcomes else {}
