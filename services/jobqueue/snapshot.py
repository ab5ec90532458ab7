"""Counts of the whole queue at one moment, for the metrics. Knows no Prometheus."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from services.jobqueue import keys
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


def queue_snapshot(scripts: RedisScripts) -> QueueSnapshot:
    """Reads the present counts. Raises Unavailable."""
    redis = scripts.redis
    with scripts.faults():
        totals = {name: int(float(value)) for name, value in redis.hgetall(keys.COUNTERS).items()}
        ready = [
            entry
            for tenant in redis.zrange(keys.TENANTS, 0, -1)
            for entry in redis.zrange(keys.ready(tenant), 0, -1, withscores=True)
        ]
        waiting = redis.zrange(keys.BACKOFF, 0, -1)
        num_paused = redis.zcard(keys.PAUSED)
        running_ids = redis.zrange(keys.LEASES, 0, -1)
        queued_ids = [job_id for job_id, _ in ready] + waiting
        oldest = [redis.hget(keys.job(job_id), "created_at") for job_id in queued_ids[:1000]]
        running = [redis.hgetall(keys.job(job_id)) for job_id in running_ids]
    ages = [time.time() - int(at) / 1000 for at in oldest if at]
    finished = {
        (parts[1], parts[2], parts[3]): count
        for name, count in totals.items()
        if len(parts := name.split(":")) == 4 and parts[0] == "finished"
    }
    num_pausing = sum(fields.get("state") == "pausing" for fields in running)
    states = Counter(
        queued=len(queued_ids), running=len(running_ids) - num_pausing, pausing=num_pausing, paused=num_paused
    )
    for (_, outcome, _), count in finished.items():
        states[outcome] += count
    running.sort(key=lambda fields: -int(fields.get("seq", 0)))
    return QueueSnapshot(
        depth=Counter(9 - int(score // _PRIORITY_STEP) for _, score in ready),
        oldest_job_age_seconds=max(ages, default=0.0),
        jobs=states,
        submitted_total=_by_cell(totals, "submitted"),
        finished_total=finished,
        running=tuple(_running(fields) for fields in running if fields),
        train_characters_total=_by_cell(totals, "characters"),
        train_steps_total=_by_cell(totals, "steps"),
    )


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
