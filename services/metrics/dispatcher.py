"""Metrics that the dispatcher tells of itself and the Ray cluster. They begin anew with each dispatcher."""

from functools import partial

from services.metrics.declared import SECONDS, Metric

_gauge = partial(Metric, kind="gauge", teller="dispatcher")
_counter = partial(Metric, kind="counter", teller="dispatcher")

TRAINERS = _gauge(
    "unroll_trainers",
    help="Places for trainers by what they do: idle (a warm one waits), busy, starting, drained.",
    labels=("state",),
)
NODES = _gauge("unroll_nodes", help="Ray nodes with places for trainers.")
CLAIMS = _counter(
    "unroll_dispatcher_claims_total",
    help="Jobs placed: on a trainer that was there (warm), or in processes made for them (cold).",
    labels=("start",),
)
GUESTS = _gauge(
    "unroll_guests",
    help="Processes made for one job: gangs of several workers, and jobs that share a GPU.",
    labels=("kind",),
)
GANG_WORKERS = _gauge("unroll_gang_workers", help="Workers of the gangs at work.")
TRAINER_DEATHS = _counter(
    "unroll_trainer_deaths_total", help="Trainer processes that died or left with their node, with or without a job."
)
WORKERS_WANTED = _gauge(
    "unroll_workers_wanted",
    help="Workers that Ray's autoscaler was asked for, by what they compute on; 0 where it is not used.",
    labels=("kind",),
)
ROUND_DURATION = Metric(
    "unroll_dispatcher_round_duration_seconds",
    "histogram",
    "dispatcher",
    "Seconds of a round of the dispatcher, without the wait for news at its end.",
    (),
    SECONDS,
)
LAST_ROUND = _gauge(
    "unroll_dispatcher_last_round_timestamp_seconds", help="Unix time at which the dispatcher last finished a round."
)
DISPATCHER_FAULTS = _counter(
    "unroll_dispatcher_faults_total",
    help="Rounds that failed, by who did not answer, and failures to tidy the storage.",
    labels=("source",),
)
GARBAGE = _counter(
    "unroll_garbage_bytes_total", help="Bytes in storage that no record referred to and that were deleted."
)
