"""Metrics that each app tells of itself: HTTP, and the disk it stores on."""

from services.metrics.declared import SECONDS, Metric

HTTP_REQUESTS = Metric(
    "unroll_http_requests_total",
    "counter",
    "app",
    "HTTP requests answered, by method, route template and status class.",
    ("method", "route", "status_class"),
)
HTTP_REQUEST_DURATION = Metric(
    "unroll_http_request_duration_seconds",
    "histogram",
    "app",
    "Seconds from an HTTP request to the end of its answer, or to the start of it where the answer is an event stream.",
    ("method", "route"),
    SECONDS,
)
HTTP_IN_PROGRESS = Metric(
    "unroll_http_requests_in_progress", "gauge", "app", "HTTP requests that are being answered, streams included."
)
STORAGE_FREE = Metric(
    "unroll_storage_free_bytes", "gauge", "app", "Bytes left on the disk that this app writes uploads to."
)
STORAGE_RESERVE = Metric(
    "unroll_storage_reserve_bytes",
    "gauge",
    "app",
    "Bytes on that disk below which uploads, submissions and checkpoints wait or are refused (UNROLL_RESERVE_BYTES).",
)
