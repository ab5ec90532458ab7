"""Counts of the whole queue at one moment, for the metrics. Knows no Prometheus."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from services.jobqueue import histograms, keys
from services.jobqueue.drain import SERVICE
from services.jobqueue.memory import Memory
from services.jobqueue.scripts import RedisScripts
from services.metrics.declared import Metric
from services.metrics.registry import HistogramTotals

_PRIORITY_STEP = 2**40


class RunningJob(NamedTuple):
    """The last values of one running job; None where it has not reported one yet."""

    job_id: str
    train_loss: float | None = None
    validation_bits_per_character: float | None = None
    gradient_norm: float | None = None
    learning_rate: float | None = None
    characters_per_second: float | None = None
    progress_ratio: float | None = None


class RedisState(NamedTuple):
    """What Redis says of itself."""

    memory: Memory
    is_append_only_file_ok: bool
    clients: int
    commands_total: int


class QueueSnapshot(NamedTuple):
    """Counts and values of all tenants together. `running` has the newest job first.

    `totals` has what was counted, by what it is and its labels: ("lstm", "failed", "poison") -> 3 under `finished`.
    All but the job ids come from closed sets. `redis` is None where Redis may not be asked of itself.
    """

    depth: Mapping[int, int]
    oldest_job_age_seconds: float
    jobs: Mapping[str, int]
    running: tuple[RunningJob, ...]
    totals: Mapping[str, Mapping[tuple[str, ...], int]]
    histograms: Mapping[Metric, Mapping[str, HistogramTotals]]
    seats: Mapping[str, int]
    workers_at_work: int
    sweeps_running: int
    stored_bytes: int
    webhooks_waiting: int
    redis: RedisState | None
    is_drained: bool


def queue_snapshot(scripts: RedisScripts) -> QueueSnapshot:
    """Reads the present counts. Raises Unavailable."""
    redis = scripts.redis
    with scripts.faults():
        counters = {name: int(float(value)) for name, value in redis.hgetall(keys.COUNTERS).items()}
        depth, first = _ready(redis, redis.zrange(keys.TENANTS, 0, -1))
        num_waiting = redis.zcard(keys.BACKOFF)
        num_paused = redis.zcard(keys.PAUSED)
        running_ids = redis.zrange(keys.LEASES, 0, -1)
        first += redis.zrange(keys.BACKOFF, 0, 999)
        with redis.pipeline(transaction=False) as asked:
            for job_id in first:
                asked.hmget(keys.job(job_id), "ready_at", "created_at")
            for job_id in running_ids:
                asked.hgetall(keys.job(job_id))
            answers = asked.execute()
        oldest, running = answers[: len(first)], answers[len(first) :]
        with redis.pipeline(transaction=False) as asked:
            asked.hexists(keys.DRAINED, SERVICE)
            asked.zcard(keys.SWEEPING)
            asked.hmget(keys.CAPACITY, "cpu", "gpu")
            asked.hgetall(keys.IN_USE)
            asked.hvals(keys.STORED)
            asked.zcard(keys.OUTBOX)
            is_drained, sweeps_running, seats, in_use, stored, webhooks_waiting = asked.execute()
        state = _redis_state(redis)
    ages = [time.time() - int(ready_at or created_at) / 1000 for ready_at, created_at in oldest if created_at]
    totals = _by_labels(counters)
    num_pausing = sum(fields.get("state") == "pausing" for fields in running)
    states = Counter(
        queued=depth.total() + num_waiting,
        running=len(running_ids) - num_pausing,
        pausing=num_pausing,
        paused=num_paused,
    )
    for (_, outcome, _), count in totals.get("finished", {}).items():
        states[outcome] += count
    running.sort(key=lambda fields: -int(fields.get("seq", 0)))
    return QueueSnapshot(
        depth=depth,
        oldest_job_age_seconds=max(ages, default=0.0),
        jobs=states,
        running=tuple(_running(fields) for fields in running if fields),
        totals=totals,
        histograms=histograms.read(counters),
        seats={kind: int(number) for kind, number in zip(("cpu", "gpu"), seats, strict=True) if number},
        workers_at_work=sum(int(number) for name, number in in_use.items() if name.startswith("workers:")),
        sweeps_running=sweeps_running,
        stored_bytes=sum(map(int, stored)),
        webhooks_waiting=webhooks_waiting,
        redis=state,
        is_drained=bool(is_drained),
    )


def _redis_state(redis: Any) -> RedisState | None:
    try:
        told = redis.info()
    except ResponseError:  # a service that sells Redis may forbid it
        return None
    return RedisState(
        memory=Memory.read(told),
        is_append_only_file_ok=told.get("aof_last_write_status", "ok") == "ok",
        clients=told["connected_clients"],
        commands_total=told["total_commands_processed"],
    )


def _ready(redis: Any, tenants: Sequence[str]) -> tuple[Counter[int], list[str]]:
    """Ready jobs by priority, and the one of each tenant and priority that waits longest; cheap however many wait."""
    with redis.pipeline(transaction=False) as asked:
        for tenant in tenants:
            for priority in range(10):
                low = (9 - priority) * _PRIORITY_STEP
                asked.zcount(keys.ready(tenant), low, f"({low + _PRIORITY_STEP}")
                asked.zrangebyscore(keys.ready(tenant), low, f"({low + _PRIORITY_STEP}", start=0, num=1)
        answers = asked.execute()
    depth = Counter({priority: sum(answers[2 * priority :: 20]) for priority in range(10)})
    return +depth, [job_id for page in answers[1::2] for job_id in page]


def _by_labels(counters: Mapping[str, int]) -> dict[str, dict[tuple[str, ...], int]]:
    """`failed:lstm:timeout` -> {"failed": {("lstm", "timeout"): ...}}, for whoever knows what each of them means."""
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for name, count in counters.items():
        what, *labels = name.split(":")
        if labels and what != "histogram":
            found.setdefault(what, {})[tuple(labels)] = count
    return found


def _running(fields: dict[str, str]) -> RunningJob:
    def part(name: str) -> dict[str, Any]:
        return json.loads(fields[name]) if fields.get(name) else {}

    last, best, progress = part("last"), part("best"), part("progress")
    return RunningJob(
        job_id=fields["id"],
        train_loss=last.get("train_loss"),
        validation_bits_per_character=last.get("bits_per_character") or best.get("bits_per_character"),
        gradient_norm=last.get("metrics", {}).get("gradient_norm"),
        learning_rate=last.get("metrics", {}).get("learning_rate"),
        characters_per_second=progress.get("characters_per_second"),
        progress_ratio=progress.get("ratio"),
    )
