"""Every metric of this room, declared once: name, kind, labels and a sentence with its unit. Knows no values.

Names are complete as Prometheus shows them (prefix `unroll_`, base units, `_total` for counters).
"""

from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram"]


class Metric(NamedTuple):
    """One family. `labels` never hold text that a user wrote."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


QUEUE_UP = Metric("unroll_queue_up", "gauge", "1 where the queue could be read for this scrape, else 0.")
DRAINED = Metric("unroll_drained", "gauge", "1 while the service takes up no jobs (`unroll drain`), else 0.")
QUEUE_DEPTH = Metric("unroll_queue_depth", "gauge", "Jobs that wait, by priority (9 runs first).", ("priority",))
QUEUE_OLDEST_JOB_AGE = Metric(
    "unroll_queue_oldest_job_age_seconds", "gauge", "Seconds the longest waiting job has waited; 0 where none waits."
)
JOBS = Metric("unroll_jobs", "gauge", "Jobs on record, by state.", ("state",))
JOBS_SUBMITTED = Metric("unroll_jobs_submitted_total", "counter", "Jobs submitted, by recurrent cell.", ("cell",))
JOBS_FINISHED = Metric(
    "unroll_jobs_finished_total",
    "counter",
    "Jobs that reached a terminal state, by recurrent cell, outcome and reason.",
    ("cell", "outcome", "reason"),
)

TRAIN_CHARACTERS = Metric(
    "unroll_train_characters_total", "counter", "Characters trained on, by recurrent cell.", ("cell",)
)
TRAIN_STEPS = Metric("unroll_train_steps_total", "counter", "Optimizer steps taken, by recurrent cell.", ("cell",))
TRAIN_LOSS = Metric(
    "unroll_train_loss", "gauge", "Last training loss of a running job, in nats per character.", ("job_id",)
)
TRAIN_VALIDATION_BITS = Metric(
    "unroll_train_validation_bits_per_character",
    "gauge",
    "Last validation loss of a running job, in bits per character.",
    ("job_id",),
)
TRAIN_GRADIENT_NORM = Metric(
    "unroll_train_gradient_norm", "gauge", "Last global gradient norm of a running job before clipping.", ("job_id",)
)
TRAIN_LEARNING_RATE = Metric(
    "unroll_train_learning_rate", "gauge", "Learning rate of a running job's last step.", ("job_id",)
)
TRAIN_CHARACTERS_PER_SECOND = Metric(
    "unroll_train_characters_per_second", "gauge", "Characters a running job trains on each second.", ("job_id",)
)
TRAIN_PROGRESS = Metric(
    "unroll_train_progress_ratio", "gauge", "Share of a running job's budget used, from 0 to 1.", ("job_id",)
)
TRAIN_JOBS_WITHOUT_SERIES = Metric(
    "unroll_train_jobs_without_series",
    "gauge",
    "Running jobs beyond the 200 newest; they have no series of their own.",
)

HTTP_REQUESTS = Metric(
    "unroll_http_requests_total",
    "counter",
    "HTTP requests answered, by method, route template and status class.",
    ("method", "route", "status_class"),
)
HTTP_REQUEST_DURATION = Metric(
    "unroll_http_request_duration_seconds",
    "histogram",
    "Seconds from an HTTP request to the end of its answer, or to the start of it where the answer is an event stream.",
    ("method", "route"),
)
BUILD_INFO = Metric("unroll_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python"))

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
