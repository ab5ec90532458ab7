"""Declared metrics as prometheus_client's objects, and the registry of a process. Knows no room's values."""

import platform
from collections.abc import Iterable
from importlib.metadata import version
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from services.metrics.declared import Metric
from services.metrics.everywhere import BUILD_INFO

# A `_created` beside each counter and bucket would double the series, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types it not

Labels = tuple[str, ...]


class HistogramTotals(NamedTuple):
    """What was observed so far: how often within each bucket (one more than bounds), and the sum of the values."""

    counts: tuple[int, ...]
    sum: float


def process_registry() -> CollectorRegistry:
    """A registry that tells what runs, and what the process takes of its machine."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    gauge(BUILD_INFO, registry).labels(version("unroll-server"), platform.python_version()).set(1)
    return registry


def counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


def histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)


def family(metric: Metric, values: Iterable[tuple[Labels, float]]) -> Family:
    """A gauge or counter whose values are known elsewhere."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    made = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        made.add_metric(labels, value)
    return made


def histogram_family(metric: Metric, totals: Iterable[tuple[Labels, HistogramTotals]]) -> Family:
    """A histogram that is kept elsewhere."""
    made = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [str(float(bound)) for bound in metric.buckets] + ["+Inf"]
    for labels, (counts, total) in totals:
        made.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return made
