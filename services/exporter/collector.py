"""Queue and trainers as Prometheus families, built from one snapshot at each scrape. Knows not where it comes from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from rnncore.spec import Cell
from services.exporter import table
from services.jobqueue.records import JobState
from services.jobqueue.snapshot import QueueSnapshot, RunningJob

MAX_JOBS_WITH_SERIES = 200
PRIORITIES = range(10)
CELLS: tuple[str, ...] = get_args(Cell)

_JOB_GAUGES: tuple[tuple[table.Metric, Callable[[RunningJob], float | None]], ...] = (
    (table.TRAIN_LOSS, lambda job: job.train_loss),
    (table.TRAIN_VALIDATION_BITS, lambda job: job.validation_bits_per_character),
    (table.TRAIN_GRADIENT_NORM, lambda job: job.gradient_norm),
    (table.TRAIN_LEARNING_RATE, lambda job: job.learning_rate),
    (table.TRAIN_CHARACTERS_PER_SECOND, lambda job: job.characters_per_second),
    (table.TRAIN_PROGRESS, lambda job: job.progress_ratio),
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
        yield _family(table.QUEUE_UP, [((), 0 if snapshot is None else 1)])
        if snapshot is not None:
            yield from _queue(snapshot)
            yield from _training(snapshot)


def _queue(snapshot: QueueSnapshot) -> Iterator[Family]:
    yield _family(table.DRAINED, [((), int(snapshot.is_drained))])
    # Closed label sets show their zeros, so that a rule sees 0 and not an absent series.
    yield _family(table.QUEUE_DEPTH, [((str(p),), snapshot.depth.get(p, 0)) for p in PRIORITIES])
    yield _family(table.QUEUE_OLDEST_JOB_AGE, [((), snapshot.oldest_job_age_seconds)])
    yield _family(table.JOBS, [((state.value,), snapshot.jobs.get(state.value, 0)) for state in JobState])
    yield _family(table.JOBS_SUBMITTED, _by_cell(snapshot.submitted_total))
    yield _family(table.JOBS_FINISHED, snapshot.finished_total.items())


def _training(snapshot: QueueSnapshot) -> Iterator[Family]:
    yield _family(table.TRAIN_CHARACTERS, _by_cell(snapshot.train_characters_total))
    yield _family(table.TRAIN_STEPS, _by_cell(snapshot.train_steps_total))
    shown = snapshot.running[:MAX_JOBS_WITH_SERIES]
    for metric, read in _JOB_GAUGES:
        yield _family(metric, [((job.job_id,), value) for job in shown if (value := read(job)) is not None])
    yield _family(table.TRAIN_JOBS_WITHOUT_SERIES, [((), len(snapshot.running) - len(shown))])


def _by_cell(totals: Mapping[str, int]) -> list[tuple[tuple[str], int]]:
    return [((cell,), totals.get(cell, 0)) for cell in CELLS]


def _family(metric: table.Metric, values: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family
