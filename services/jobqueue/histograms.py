"""Histograms that lie among the counters in Redis, so that they outlive every process; written by scripts alone.

A field is `histogram:METRIC:LABEL:` and the number of a bucket, from 1, or `millionths`: the sum of all values.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping

from services.metrics import queue as declared
from services.metrics.declared import Metric
from services.metrics.registry import HistogramTotals

KEPT = (
    declared.JOB_QUEUE_WAIT,
    declared.JOB_TIME_TO_FIRST_STEP,
    declared.JOB_ATTEMPTS,
    declared.TRAIN_STEP_DURATION,
    declared.TRAIN_CHECKPOINT_DURATION,
)
_FIELD = re.compile(r"histogram:(\w+):(\w*):(\w+)")


def observation(metric: Metric, value: float, *, label: str = "", times: int = 1) -> dict[str, int]:
    """What the counters have to be raised by for a `value` that was seen so many times."""
    field = f"histogram:{metric.name}:{label}:"
    return {
        f"{field}{bisect_left(metric.buckets, value) + 1}": times,
        f"{field}millionths": round(value * times * 1_000_000),
    }


def read(counters: Mapping[str, int]) -> dict[Metric, dict[str, HistogramTotals]]:
    """Every histogram by its metric and label, out of all counters."""
    raw: dict[tuple[str, str], dict[str, int]] = {}
    for name, amount in counters.items():
        if found := _FIELD.fullmatch(name):
            metric, label, part = found.groups()
            raw.setdefault((metric, label), {})[part] = amount
    totals: dict[Metric, dict[str, HistogramTotals]] = {metric: {} for metric in KEPT}
    for metric in KEPT:
        for (name, label), parts in raw.items():
            if name == metric.name:
                counts = tuple(parts.get(str(number), 0) for number in range(1, len(metric.buckets) + 2))
                totals[metric][label] = HistogramTotals(counts, parts.get("millionths", 0) / 1_000_000)
    return totals


def lua_bounds() -> str:
    """The bounds of all buckets, for the scripts."""
    bounds = (f"['{metric.name}'] = {{{', '.join(map(str, metric.buckets))}}}" for metric in KEPT)
    return f"local BOUNDS = {{{', '.join(bounds)}}}\n"
