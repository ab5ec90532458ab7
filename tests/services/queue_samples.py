"""Small things the queue's tests are made of, and the auditor of what the queue must keep true at all times."""

import json
from collections import Counter
from typing import Any

from rnncore.corpus import TextSummary
from rnncore.spec import JobSpec
from services.jobqueue.keys import PREFIX
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Checkpoint, Claim, Dataset, JobRecord
from services.jobqueue.scripts import RedisScripts

TENANT = "tenant-a"
DATASET = "ds-" + "a" * 32
VALIDATION = "ds-" + "b" * 32
LEASE_SECONDS = 30.0
TERMINAL = ("succeeded", "failed", "cancelled")


def make_spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": DATASET, **changes})


def make_dataset(dataset_id: str = DATASET, tenant: str = TENANT, created_at: float = 1000.0) -> Dataset:
    summary = TextSummary(vocabulary="characters", num_symbols=7, symbols="abc", offsets=(0, 1, 2))
    return Dataset(
        kind="text",
        id=dataset_id,
        tenant=tenant,
        created_at=created_at,
        num_bytes=7,
        sha256="5" * 64,
        summary=summary,
        name="text",
    )


def make_checkpoint(held: Claim, step: int) -> Checkpoint:
    return Checkpoint(
        model=f"{held.job}:step-{step}",
        job=held.job,
        step=step,
        epoch=held.epoch,
        path=f"jobs/{held.job}/checkpoints/{step}",
        created_at=1000.0,
        parameters_sha256="3" * 64,
    )


def add_datasets(queue: JobQueue, tenant: str = TENANT, *dataset_ids: str) -> None:
    for dataset_id in dataset_ids or (DATASET,):
        queue.put_dataset(make_dataset(dataset_id, tenant), f"blob of {dataset_id}")


def submit(queue: JobQueue, tenant: str = TENANT, **changes: Any) -> JobRecord:
    return queue.submit(tenant, make_spec(**changes))


def contents(scripts: RedisScripts) -> dict[str, Any]:
    """Everything in Redis by key, so that two moments can be compared as a whole."""
    redis = scripts.redis
    read = {
        "string": redis.get,
        "hash": redis.hgetall,
        "list": lambda key: redis.lrange(key, 0, -1),
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "stream": redis.xrange,
        "set": lambda key: sorted(redis.smembers(key)),
    }
    return {key: read[redis.type(key)](key) for key in sorted(redis.keys("*"))}


def jobs_in(found: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The hash of every job, by id."""
    start = f"{PREFIX}job:"
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}


def audit(scripts: RedisScripts) -> None:
    """Fails unless every job is in exactly the structures its state demands, and every count is right."""
    found = contents(scripts)
    jobs = jobs_in(found)
    assert _places(found) == {job_id: _place_of(job) for job_id, job in jobs.items()}
    _audit_ready(found, jobs)
    working = {(job["tenant"], job_id) for job_id, job in jobs.items() if job["state"] in ("running", "pausing")}
    start = f"{PREFIX}running:"
    assert {(key.removeprefix(start), i) for key in found if key.startswith(start) for i in found[key]} == working
    _audit_indexes(found, jobs)
    _audit_uses(found, jobs)
    for job_id, job in jobs.items():
        events = [fields for _, fields in found[f"{PREFIX}events:{job_id}"] if fields["type"] == "state"]
        assert json.loads(events[-1]["data"])["state"] == job["state"], f"{job_id} told another state than it has"
        assert ("finished_at" in job) == (job["state"] in TERMINAL)
    for key in found:
        if key.startswith((f"{PREFIX}claim:", f"{PREFIX}idempotency:")):
            assert scripts.redis.pttl(key) > 0, f"{key} would stay for ever"


def _place_of(job: dict[str, str]) -> set[str]:
    """Where a job of this state has to be; one that is queued may wait in the backoff instead."""
    if job["state"] == "queued":
        return {"backoff"} if job["reason"] == "backoff" else {f"ready:{job['tenant']}"}
    assert job["state"] in ("running", "pausing", "paused", *TERMINAL)
    if job["state"] == "paused":
        return {"paused"}
    return {"leases"} if job["state"] in ("running", "pausing") else set()


def _places(found: dict[str, Any]) -> dict[str, set[str]]:
    """Where each job is. A job whose backoff is over keeps its reason, so ready counts as backoff for it."""
    places: dict[str, set[str]] = {job_id: set() for job_id in jobs_in(found)}
    for key, value in found.items():
        name = key.removeprefix(PREFIX)
        if name in ("leases", "backoff", "paused") or name.startswith("ready:"):
            for job_id, _ in value:
                assert job_id in places, f"{name} holds {job_id}, which is no job"
                was_promoted = name.startswith("ready:") and found[f"{PREFIX}job:{job_id}"]["reason"] == "backoff"
                places[job_id].add("backoff" if was_promoted else name)
    return places


def _audit_ready(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> None:
    ready = {key.removeprefix(f"{PREFIX}ready:"): value for key, value in found.items() if ":ready:" in key[:20]}
    assert {tenant for tenant, _ in found.get(f"{PREFIX}tenants", ())} == set(ready)
    for waiting in ready.values():
        for job_id, score in waiting:
            assert score == (9 - int(jobs[job_id]["priority"])) * 2**40 + int(jobs[job_id]["seq"])


def _audit_indexes(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> None:
    listed = {
        (key.removeprefix(f"{PREFIX}jobs:"), job_id, int(seq))
        for key, value in found.items()
        if key.startswith(f"{PREFIX}jobs:")
        for job_id, seq in value
    }
    assert listed == {(job["tenant"], job_id, int(job["seq"])) for job_id, job in jobs.items()}
    for kind in ("events", "checkpoints"):
        owners = {key.removeprefix(f"{PREFIX}{kind}:") for key in found if key.startswith(f"{PREFIX}{kind}:")}
        assert owners <= set(jobs), f"{kind} of jobs that are gone"


def _audit_uses(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> None:
    used = Counter(
        job[field]
        for job in jobs.values()
        if job["state"] not in TERMINAL
        for field in ("dataset", "validation_dataset")
        if job[field]
    )
    sets = {key.removeprefix(f"{PREFIX}dataset:"): value for key, value in found.items() if ":dataset:" in key[:20]}
    assert {dataset_id: int(value["uses"]) for dataset_id, value in sets.items()} == {i: used[i] for i in sets}
    listed = {
        (key.removeprefix(f"{PREFIX}datasets:"), dataset_id)
        for key, value in found.items()
        if key.startswith(f"{PREFIX}datasets:")
        for dataset_id, _ in value
    }
    assert listed == {(value["tenant"], dataset_id) for dataset_id, value in sets.items()}
