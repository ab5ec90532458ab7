"""Metrics that every process tells of itself, besides prometheus_client's `process_*`."""

from services.metrics.declared import Metric

BUILD_INFO = Metric(
    "unroll_build_info", "gauge", "each process", "Always 1; the labels say what runs.", ("version", "python")
)
