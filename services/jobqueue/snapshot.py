"""Counts of the whole queue at one moment, for the metrics. Knows no Prometheus."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.jobqueue import keys
from services.jobqueue.drain import SERVICE
from services.jobqueue.scripts import RedisScripts

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


class QueueSnapshot(NamedTuple):
    """Counts and values of all tenants together. `running` has the newest job first.

    Keys: priority 0-9, state, cell, (cell, outcome, reason). All but the job ids come from closed sets.
    """

    depth: Mapping[int, int]
    oldest_job_age_seconds: float
    jobs: Mapping[str, int]
    submitted_total: Mapping[str, int]
    finished_total: Mapping[tuple[str, str, str], int]
    running: tuple[RunningJob, ...]
    train_characters_total: Mapping[str, int]
    train_steps_total: Mapping[str, int]
    is_drained: bool = False


def queue_snapshot(scripts: RedisScripts) -> QueueSnapshot:
    """Reads the present counts. Raises Unavailable."""
    redis = scripts.redis
    with scripts.faults():
        totals = {name: int(float(value)) for name, value in redis.hgetall(keys.COUNTERS).items()}
        depth, first = _ready(redis, redis.zrange(keys.TENANTS, 0, -1))
        num_waiting = redis.zcard(keys.BACKOFF)
        num_paused = redis.zcard(keys.PAUSED)
        running_ids = redis.zrange(keys.LEASES, 0, -1)
        first += redis.zrange(keys.BACKOFF, 0, 999)
        with redis.pipeline(transaction=False) as asked:
            for job_id in first:
                asked.hget(keys.job(job_id), "created_at")
            for job_id in running_ids:
                asked.hgetall(keys.job(job_id))
            answers = asked.execute()
        oldest, running = answers[: len(first)], answers[len(first) :]
        is_drained = redis.hexists(keys.DRAINED, SERVICE)
    ages = [time.time() - int(at) / 1000 for at in oldest if at]
    finished = {
        (parts[1], parts[2], parts[3]): count
        for name, count in totals.items()
        if len(parts := name.split(":")) == 4 and parts[0] == "finished"
    }
    num_pausing = sum(fields.get("state") == "pausing" for fields in running)
    states = Counter(
        queued=depth.total() + num_waiting,
        running=len(running_ids) - num_pausing,
        pausing=num_pausing,
        paused=num_paused,
    )
    for (_, outcome, _), count in finished.items():
        states[outcome] += count
    running.sort(key=lambda fields: -int(fields.get("seq", 0)))
    return QueueSnapshot(
        depth=depth,
        oldest_job_age_seconds=max(ages, default=0.0),
        jobs=states,
        submitted_total=_by_cell(totals, "submitted"),
        finished_total=finished,
        running=tuple(_running(fields) for fields in running if fields),
        train_characters_total=_by_cell(totals, "characters"),
        train_steps_total=_by_cell(totals, "steps"),
        is_drained=bool(is_drained),
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


def _by_cell(totals: dict[str, int], what: str) -> dict[str, int]:
    return {name.partition(":")[2]: count for name, count in totals.items() if name.startswith(f"{what}:")}


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
