"""The exporter's promises: names and sentences from the table, closed labels, a bounded number of series."""

import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry
from scrapes import SNAPSHOT, Samples, app, samples, scrape

from services.exporter.collector import QueueCollector
from services.exporter.http import HttpMetrics
from services.exporter.storage import StorageCollector
from services.faults import TABLE
from services.jobqueue.histograms import KEPT
from services.jobqueue.records import JobState
from services.jobqueue.snapshot import QueueSnapshot, RunningJob
from services.metrics import METRICS
from services.metrics.registry import process_registry


def queue_text(snapshot: QueueSnapshot | None) -> str:
    registry = CollectorRegistry()
    registry.register(QueueCollector(lambda: snapshot))
    return scrape(registry)


def by(name: str, label: str, values: dict[str, float]) -> Samples:
    return {(name, ((label, value),)): number for value, number in values.items()}


def without_histograms(found: Samples) -> Samples:
    return {key: value for key, value in found.items() if not re.search("_(bucket|count|sum)$", key[0])}


Label = tuple[str, str]


def every_end() -> list[tuple[Label, Label, Label]]:
    """Labels of every way in which a job of any cell may end."""
    ends = [("succeeded", "finished"), ("cancelled", "cancelled"), ("cancelled", "stopped_early")]
    ends += [("failed", reason) for reason in (*{fault.code for _, fault in TABLE}, "poison", "envelope")]
    return [(("cell", c), ("outcome", end), ("reason", why)) for c in ("rnn", "lstm", "gru") for end, why in ends]


def is_fault(reason: Label) -> bool:
    """Whether a trainer may report it."""
    return reason[1] in {fault.code for _, fault in TABLE}


def test_snapshot_becomes_exactly_these_series() -> None:
    expected: Samples = {
        ("unroll_queue_up", ()): 1,
        ("unroll_drained", ()): 1,
        ("unroll_queue_oldest_job_age_seconds", ()): 12.5,
        **by("unroll_queue_depth", "priority", {str(p): {9: 2, 5: 7}.get(p, 0) for p in range(10)}),
        **by("unroll_jobs", "state", {state.value: SNAPSHOT.jobs.get(state.value, 0) for state in JobState}),
        **{("unroll_jobs_finished_total", labels): 0.0 for labels in every_end()},
        **{("unroll_job_failures_total", (cell, reason)): 0.0 for cell, _, reason in every_end() if is_fault(reason)},
        ("unroll_jobs_finished_total", (("cell", "lstm"), ("outcome", "failed"), ("reason", "poison"))): 1,
        ("unroll_jobs_finished_total", (("cell", "gru"), ("outcome", "succeeded"), ("reason", "finished"))): 4,
        ("unroll_job_failures_total", (("cell", "lstm"), ("reason", "non_finite_loss"))): 2,
        ("unroll_job_failures_total", (("cell", "gru"), ("reason", "io_error"))): 5,
        **by("unroll_worker_losses_total", "reason", {"worker_lost": 3, "no_progress": 0}),
        **by("unroll_jobs_submitted_total", "cell", {"lstm": 11, "gru": 3, "rnn": 0}),
        **by("unroll_train_characters_total", "cell", {"lstm": 4096, "gru": 0, "rnn": 0}),
        **by("unroll_train_steps_total", "cell", {"lstm": 2, "gru": 0, "rnn": 0}),
        **by("unroll_train_gradient_clipped_total", "cell", {"lstm": 0, "gru": 0, "rnn": 6}),
        **by("unroll_train_nonfinite_loss_total", "cell", {"lstm": 2, "gru": 0, "rnn": 0}),
        **by("unroll_train_storage_faults_total", "fault", {"storage_full": 0, "unavailable": 8}),
        **by("unroll_sweeps_finished_total", "outcome", {"succeeded": 7, "failed": 0, "cancelled": 0}),
        ("unroll_sweeps_running", ()): 2,
        **by("unroll_seats", "kind", {"cpu": 13, "gpu": 0}),
        ("unroll_workers_at_work", ()): 5,
        ("unroll_stored_bytes", ()): 7_000,
        ("unroll_webhooks_waiting", ()): 1,
        ("unroll_redis_memory_used_bytes", ()): 1_000,
        ("unroll_redis_memory_max_bytes", ()): 4_000,
        ("unroll_redis_append_only_file_ok", ()): 0,
        ("unroll_redis_clients", ()): 17,
        ("unroll_redis_commands_total", ()): 90_000,
        ("unroll_train_jobs_without_series", ()): 0,
        ("unroll_train_loss", (("job_id", "job-b"),)): 1.5,
        ("unroll_train_validation_bits_per_character", (("job_id", "job-b"),)): 2.25,
        ("unroll_train_gradient_norm", (("job_id", "job-b"),)): 0.75,
        ("unroll_train_learning_rate", (("job_id", "job-b"),)): 0.004,
        ("unroll_train_characters_per_second", (("job_id", "job-b"),)): 51_000.0,
        ("unroll_train_progress_ratio", (("job_id", "job-b"),)): 0.4,
    }
    assert without_histograms(samples(queue_text(SNAPSHOT))) == expected


def test_histogram_from_redis_counts_up_to_each_bound() -> None:
    found = samples(queue_text(SNAPSHOT))
    assert {key: value for key, value in found.items() if key[0].startswith("unroll_job_attempts")} == {
        **by(
            "unroll_job_attempts_bucket",
            "le",
            {"1.0": 4, "2.0": 7, "3.0": 7, "5.0": 7, "10.0": 7, "+Inf": 8},
        ),
        ("unroll_job_attempts_count", ()): 8,
        ("unroll_job_attempts_sum", ()): 22.0,
    }


def test_histogram_shows_zeros_for_each_value_of_its_label() -> None:
    found = samples(queue_text(SNAPSHOT))
    name = "unroll_job_time_to_first_step_seconds"
    assert found[f"{name}_count", (("start", "warm"),)] == 0
    assert found[f"{name}_bucket", (("le", "300.0"), ("start", "cold"))] == 0
    assert found[f"{name}_bucket", (("le", "+Inf"), ("start", "cold"))] == 1


def test_redis_that_may_not_be_asked_of_itself_costs_its_own_series_alone() -> None:
    found, known = samples(queue_text(SNAPSHOT._replace(redis=None))), samples(queue_text(SNAPSHOT))
    assert {name for name, _ in known} - {name for name, _ in found} == {
        "unroll_redis_memory_used_bytes",
        "unroll_redis_memory_max_bytes",
        "unroll_redis_append_only_file_ok",
        "unroll_redis_clients",
        "unroll_redis_commands_total",
    }


def test_value_of_zero_is_a_value() -> None:
    found = samples(queue_text(SNAPSHOT._replace(running=(RunningJob("job-c", learning_rate=0.0),))))
    assert {key: value for key, value in found.items() if key[1] == (("job_id", "job-c"),)} == {
        ("unroll_train_learning_rate", (("job_id", "job-c"),)): 0.0
    }


def test_each_scrape_asks_for_a_new_snapshot() -> None:
    answers: Iterator[QueueSnapshot] = iter([SNAPSHOT, SNAPSHOT._replace(oldest_job_age_seconds=99)])
    registry = CollectorRegistry()
    registry.register(QueueCollector(lambda: next(answers)))
    first, second = samples(scrape(registry)), samples(scrape(registry))
    assert first["unroll_queue_oldest_job_age_seconds", ()] == 12.5
    assert second["unroll_queue_oldest_job_age_seconds", ()] == 99


def test_unreadable_queue_is_one_series_saying_so() -> None:
    assert samples(queue_text(None)) == {("unroll_queue_up", ()): 0}


def test_two_hundred_newest_jobs_have_series_and_the_rest_are_counted() -> None:
    running = tuple(RunningJob(f"job-{i}", 1, 2, 3, 4, 5, 0.5) for i in range(1003))
    found = samples(queue_text(SNAPSHOT._replace(running=running)))
    jobs = {labels[0][1] for (name, labels) in found if name == "unroll_train_loss"}
    assert jobs == {f"job-{i}" for i in range(200)}
    assert found["unroll_train_jobs_without_series", ()] == 803
    assert len(found) < 5000


def test_hostile_job_id_makes_no_other_series() -> None:
    evil = '"} 1\nevil 1'
    text = queue_text(SNAPSHOT._replace(running=(RunningJob(evil, train_loss=1.0),)))
    assert ("unroll_train_loss", (("job_id", evil),)) in samples(text)
    assert not any(line.startswith("evil") for line in text.splitlines())


def test_disk_that_cannot_be_measured_hides_nothing_else() -> None:
    def fails() -> int:
        raise PermissionError("no")

    registry = CollectorRegistry()
    registry.register(StorageCollector(fails, 11))
    assert samples(scrape(registry)) == {("unroll_storage_reserve_bytes", ()): 11}
    registry = CollectorRegistry()
    registry.register(StorageCollector(lambda: 13, 11))
    assert samples(scrape(registry))["unroll_storage_free_bytes", ()] == 13


def test_every_process_says_what_runs_and_what_it_takes() -> None:
    found = samples(scrape(process_registry()))
    labels = (("python", platform.python_version()), ("version", version("unroll-server")))
    assert found["unroll_build_info", labels] == 1
    assert found["process_resident_memory_bytes", ()] > 1_000_000


def test_every_metric_is_declared_once_with_a_sentence() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert metric.name.startswith("unroll_")
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_buckets_reach_from_the_least_to_the_most_that_happens() -> None:
    """A wait of hours or a symbol within a millisecond that falls beyond the bounds is nothing but a number of them."""
    assert {metric.name: (metric.buckets[0], metric.buckets[-1]) for metric in METRICS if metric.buckets} == {
        "unroll_job_queue_wait_seconds": (0.1, 86_400),
        "unroll_job_time_to_first_step_seconds": (0.1, 300),
        "unroll_job_attempts": (1, 10),
        "unroll_train_step_duration_seconds": (0.001, 5),
        "unroll_train_checkpoint_duration_seconds": (0.01, 120),
        "unroll_http_request_duration_seconds": (0.005, 30),
        "unroll_sample_time_to_first_token_seconds": (0.005, 30),
        "unroll_sample_token_interval_seconds": (0.0001, 1),
        "unroll_sample_batch_size": (1, 512),
        "unroll_model_load_seconds": (0.005, 30),
        "unroll_dispatcher_round_duration_seconds": (0.005, 30),
    }


def test_no_label_can_hold_what_a_user_wrote() -> None:
    labels = {label for metric in METRICS for label in metric.labels}
    closed = {"priority", "state", "cell", "outcome", "reason", "start", "fault", "kind", "method", "route"}
    assert labels == closed | {"status_class", "stream", "source", "version", "python", "job_id"}


def test_every_family_of_the_app_stands_in_the_declarations() -> None:
    registry = process_registry()
    histograms: Any = {metric: {} for metric in KEPT}
    registry.register(QueueCollector(lambda: SNAPSHOT._replace(histograms=histograms)))
    registry.register(StorageCollector(lambda: 1, 1))
    HttpMetrics(app(), registry=registry)
    text = scrape(registry)
    told = [metric for metric in METRICS if metric.teller in ("app", "each process")]
    assert dict(re.findall(r"^# HELP (unroll_\S+) (.*)$", text, re.MULTILINE)) == {one.name: one.help for one in told}
    assert dict(re.findall(r"^# TYPE (unroll_\S+) (.*)$", text, re.MULTILINE)) == {one.name: one.kind for one in told}
