"""Queue and trainers as Prometheus families, built from one snapshot at each scrape. Knows not where it comes from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from rnncore.spec import Cell
from services.faults import TABLE
from services.jobqueue.records import JobState
from services.jobqueue.snapshot import QueueSnapshot, RedisState, RunningJob
from services.metrics import queue as declared
from services.metrics.declared import Metric
from services.metrics.registry import HistogramTotals, Labels, family, histogram_family

MAX_JOBS_WITH_SERIES = 200
PRIORITIES = range(10)
CELLS: tuple[str, ...] = get_args(Cell)
OUTCOMES = tuple(state.value for state in JobState if state.is_terminal)
# Closed label sets show their zeros, so that a rule sees 0 and not an absent series, and a rate the first rise.
_VALUES: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("",),
    ("cell",): CELLS,
    ("start",): ("warm", "cold"),
    ("outcome",): OUTCOMES,
    ("fault",): ("storage_full", "unavailable"),
}
_LOSSES = ("worker_lost", "no_progress")
_FAULTS = tuple(dict.fromkeys(fault.code for _, fault in TABLE))
_ENDS = (
    ("succeeded", "finished"),
    ("cancelled", "cancelled"),
    ("cancelled", "stopped_early"),
    *(("failed", reason) for reason in (*_FAULTS, "poison", "envelope")),
)
_FINISHED: tuple[Labels, ...] = tuple((cell, *end) for cell in CELLS for end in _ENDS)
_FAILED: tuple[Labels, ...] = tuple((cell, fault) for cell in CELLS for fault in _FAULTS)

# What a counter of the queue is called in a snapshot.
_TOTALS: tuple[tuple[Metric, str], ...] = (
    (declared.JOBS_SUBMITTED, "submitted"),
    (declared.TRAIN_CHARACTERS, "characters"),
    (declared.TRAIN_STEPS, "steps"),
    (declared.TRAIN_GRADIENT_CLIPPED, "clipped"),
    (declared.TRAIN_STORAGE_FAULTS, "storage_faults"),
    (declared.SWEEPS_FINISHED, "sweeps"),
)
_JOB_GAUGES: tuple[tuple[Metric, Callable[[RunningJob], float | None]], ...] = (
    (declared.TRAIN_LOSS, lambda job: job.train_loss),
    (declared.TRAIN_VALIDATION_BITS, lambda job: job.validation_bits_per_character),
    (declared.TRAIN_GRADIENT_NORM, lambda job: job.gradient_norm),
    (declared.TRAIN_LEARNING_RATE, lambda job: job.learning_rate),
    (declared.TRAIN_CHARACTERS_PER_SECOND, lambda job: job.characters_per_second),
    (declared.TRAIN_PROGRESS, lambda job: job.progress_ratio),
)


class QueueCollector(Collector):
    """Register it once; each scrape asks for a snapshot. None from `snapshot` says that the queue cannot be read."""

    def __init__(self, snapshot: Callable[[], QueueSnapshot | None]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Family]:
        """No family: a registry that asked `collect` at registration would need the queue to be up."""
        return ()

    def collect(self) -> Iterator[Family]:
        snapshot = self._snapshot()
        yield _one(declared.QUEUE_UP, 0 if snapshot is None else 1)
        if snapshot is not None:
            yield from _queue(snapshot)
            yield from _training(snapshot)
            yield from _redis(snapshot.redis)


def _queue(snapshot: QueueSnapshot) -> Iterator[Family]:
    yield _one(declared.DRAINED, int(snapshot.is_drained))
    yield family(declared.QUEUE_DEPTH, [((str(p),), snapshot.depth.get(p, 0)) for p in PRIORITIES])
    yield _one(declared.QUEUE_OLDEST_JOB_AGE, snapshot.oldest_job_age_seconds)
    yield family(declared.JOBS, [((state.value,), snapshot.jobs.get(state.value, 0)) for state in JobState])
    finished, failed = snapshot.totals.get("finished", {}), snapshot.totals.get("failed", {})
    lost = snapshot.totals.get("lost", {})
    yield family(declared.JOBS_FINISHED, {**dict.fromkeys(_FINISHED, 0), **finished}.items())
    yield family(declared.JOB_FAILURES, {**dict.fromkeys(_FAILED, 0), **failed}.items())
    yield family(declared.WORKER_LOSSES, [((reason,), lost.get((reason,), 0)) for reason in _LOSSES])
    yield family(declared.TRAIN_NONFINITE_LOSS, [((cell,), failed.get((cell, "non_finite_loss"), 0)) for cell in CELLS])
    for metric, what in _TOTALS:
        yield family(metric, _with_zeros(metric, snapshot.totals.get(what, {})))
    for metric, totals in snapshot.histograms.items():
        yield _histogram(metric, totals)
    yield _one(declared.SWEEPS_RUNNING, snapshot.sweeps_running)
    yield family(declared.SEATS, [((kind,), number) for kind, number in snapshot.seats.items()])
    yield _one(declared.WORKERS_AT_WORK, snapshot.workers_at_work)
    yield _one(declared.STORED, snapshot.stored_bytes)
    yield _one(declared.WEBHOOKS_WAITING, snapshot.webhooks_waiting)


def _training(snapshot: QueueSnapshot) -> Iterator[Family]:
    shown = snapshot.running[:MAX_JOBS_WITH_SERIES]
    for metric, read in _JOB_GAUGES:
        yield family(metric, [((job.job_id,), value) for job in shown if (value := read(job)) is not None])
    yield _one(declared.TRAIN_JOBS_WITHOUT_SERIES, len(snapshot.running) - len(shown))


def _redis(state: RedisState | None) -> Iterator[Family]:
    if state is not None:
        yield _one(declared.REDIS_MEMORY_USED, state.memory.used)
        yield _one(declared.REDIS_MEMORY_MAX, state.memory.most)
        yield _one(declared.REDIS_AOF_OK, int(state.is_append_only_file_ok))
        yield _one(declared.REDIS_CLIENTS, state.clients)
        yield _one(declared.REDIS_COMMANDS, state.commands_total)


def _one(metric: Metric, value: float) -> Family:
    return family(metric, [((), value)])


def _with_zeros(metric: Metric, totals: Mapping[Labels, int]) -> list[tuple[Labels, float]]:
    return [((value,), totals.get((value,), 0)) for value in _VALUES[metric.labels]]


def _histogram(metric: Metric, totals: Mapping[str, HistogramTotals]) -> Family:
    nothing = HistogramTotals((0,) * (len(metric.buckets) + 1), 0.0)
    values = _VALUES[metric.labels]
    return histogram_family(
        metric, [((value,) if metric.labels else (), totals.get(value, nothing)) for value in values]
    )
