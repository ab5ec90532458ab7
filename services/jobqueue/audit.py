"""What the queue keeps true at all times, checked against all that lies in Redis. Changes nothing."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from services.jobqueue.keys import PREFIX
from services.jobqueue.records import JobState
from services.jobqueue.scripts import RedisScripts

_WORKING = (JobState.RUNNING, JobState.PAUSING)
_TERMINAL = tuple(state for state in JobState if state.is_terminal)
_LOOKS = 3
_PAUSE_SECONDS = 0.3


def audit(scripts: RedisScripts) -> list[str]:
    """One line for each invariant that is broken. Raises Unavailable.

    A queue at work changes while it is read: only what is found again at each of three looks is told.
    """
    found = violations(scripts)
    for _ in range(_LOOKS - 1):
        if not found:
            break
        time.sleep(_PAUSE_SECONDS)
        again = set(violations(scripts))
        found = [line for line in found if line in again]
    return found


def violations(scripts: RedisScripts) -> list[str]:
    """As `audit`, of a queue that stands still, at one look."""
    found = contents(scripts)
    jobs = jobs_in(found)
    return [
        *_wrong_places(found, jobs),
        *_wrong_scores(found, jobs),
        *_wrong_workers(found, jobs),
        *_wrong_indexes(found, jobs),
        *_wrong_uses(found, jobs),
        *_wrong_bytes(found, jobs),
        *_wrong_sweeps(found, jobs, scripts),
        *_wrong_records(found, jobs, scripts),
        *_kept_for_ever(found, scripts),
    ]


def contents(scripts: RedisScripts) -> dict[str, Any]:
    """Everything of the queue in Redis by key."""
    redis = scripts.redis
    read = {
        "string": redis.get,
        "hash": redis.hgetall,
        "list": lambda key: redis.lrange(key, 0, -1),
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "stream": redis.xrange,
        "set": lambda key: sorted(redis.smembers(key)),
    }
    with scripts.faults():
        kinds = {key: redis.type(key) for key in sorted(redis.scan_iter(match=f"{PREFIX}*", count=1000))}
        return {key: read[kind](key) for key, kind in kinds.items() if kind in read}


def jobs_in(found: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The hash of every job, by id."""
    return dict(_each(found, "job:"))


def _each(found: dict[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
    start = f"{PREFIX}{kind}"
    return ((key.removeprefix(start), value) for key, value in found.items() if key.startswith(start))


def _wrong_places(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    """Every job is in exactly the one structure that its state demands."""
    places: dict[str, set[str]] = {job_id: set() for job_id in jobs}
    indexes = [(name, found.get(f"{PREFIX}{name}", ())) for name in ("leases", "backoff", "paused", "ended")]
    indexes += [(f"ready:{tenant}", value) for tenant, value in _each(found, "ready:")]
    for name, members in indexes:
        for job_id, _ in members:
            if job_id in places:
                places[job_id].add(name)
            else:
                yield f"{name} holds {job_id}, which is no job"
    for job_id, job in jobs.items():
        demanded = _demanded(job)
        if places[job_id] not in demanded:
            yield f"{job_id} is {job.get('state')} and lies in {sorted(places[job_id])}, not in {sorted(demanded[0])}"


def _demanded(job: dict[str, str]) -> list[set[str]]:
    state = job.get("state")
    if state == JobState.QUEUED:
        ready = {f"ready:{job['tenant']}"}
        return [{"backoff"}, ready] if job["reason"] == "backoff" else [ready]
    if state in _WORKING:
        return [{"leases"}]
    return [{"paused"} if state == JobState.PAUSED else {"ended"}]


def _wrong_scores(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    """Ready jobs lie by priority, then sequence; the tenants that have some, and no others, wait for a turn."""
    ready = dict(_each(found, "ready:"))
    turns = {tenant for tenant, _ in found.get(f"{PREFIX}tenants", ())}
    for tenant in turns ^ set(ready):
        yield f"tenant {tenant} has {len(ready.get(tenant, ()))} ready jobs and {'a' if tenant in turns else 'no'} turn"
    for waiting in ready.values():
        for job_id, score in waiting:
            job = jobs.get(job_id)
            if job and score != (9 - int(job["priority"])) * 2**40 + int(job["seq"]):
                yield f"{job_id} lies at {score}, which is not its priority and sequence"


def _wrong_workers(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    """Who has workers is known by tenant, and how many they are."""
    working = {job_id: job for job_id, job in jobs.items() if job.get("state") in _WORKING}
    listed = {(tenant, job_id) for tenant, ids in _each(found, "running:") for job_id in ids}
    for tenant, job_id in listed ^ {(job["tenant"], job_id) for job_id, job in working.items()}:
        yield f"{job_id} of {tenant} is {'' if (tenant, job_id) in listed else 'not '}listed as one that has workers"
    together = {(token, job_id) for token, ids in _each(found, "group:") for job_id in ids}
    for token, job_id in together ^ {(job["group"], job_id) for job_id, job in jobs.items() if "group" in job}:
        yield f"the group {token} and the record of {job_id} do not agree"
    for token, job_id in together:
        if job_id not in working:
            yield f"{job_id} of the group {token} has no worker"
    counted: defaultdict[str, float] = defaultdict(float)
    for job in {job.get("group", job_id): job for job_id, job in working.items()}.values():  # a group has one worker
        counted[f"workers:{job['tenant']}"] += int(job["workers"])
        counted[f"gpus:{job['tenant']}"] += int(job["workers"]) * int(job["quarters"]) / 4 * (job["seat"] == "gpu")
    told = {name: float(value) for name, value in found.get(f"{PREFIX}in_use", {}).items()}
    for name in counted.keys() | told.keys():
        if counted[name] != told.get(name, 0):
            yield f"in_use has {told.get(name, 0):g} of {name}, the running jobs {counted[name]:g}"


def _wrong_indexes(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    """Every job is in its tenant's list, and nothing is kept of one that is not there."""
    listed = {(tenant, job_id, int(seq)) for tenant, ids in _each(found, "jobs:") for job_id, seq in ids}
    for tenant, job_id, _ in listed ^ {(job["tenant"], job_id, int(job["seq"])) for job_id, job in jobs.items()}:
        yield f"the list of jobs of {tenant} and the record of {job_id} do not agree"
    for tenant, named in _each(found, "aliases:"):
        for name, raw in named.items():
            if jobs.get(json.loads(raw)["model"].partition(":")[0], {}).get("tenant") != tenant:
                yield f"the alias {name} of {tenant} stands for a job that is not there"
    for kind in ("events", "checkpoints"):
        for job_id, _ in _each(found, f"{kind}:"):
            if job_id not in jobs:
                yield f"{kind} of {job_id} are kept, which is no job"


def _wrong_uses(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    """Every data set counts the unfinished jobs and sweeps that read it, and is in its tenant's list."""
    sweeps = [sweep for _, sweep in _each(found, "sweep:")]
    used = Counter(
        job[field]
        for job in (*jobs.values(), *sweeps)
        if job.get("state") not in _TERMINAL
        for field in ("dataset", "validation_dataset")
        if job.get(field)
    )
    sets = dict(_each(found, "dataset:"))
    for dataset_id, kept in sets.items():
        if int(kept["uses"]) != used[dataset_id]:
            yield f"{dataset_id} counts {kept['uses']} unfinished jobs and sweeps, {used[dataset_id]} read it"
    listed = {(tenant, dataset_id) for tenant, ids in _each(found, "datasets:") for dataset_id, _ in ids}
    for tenant, dataset_id in listed ^ {(kept["tenant"], dataset_id) for dataset_id, kept in sets.items()}:
        yield f"the list of data sets of {tenant} and the record of {dataset_id} do not agree"


def _wrong_bytes(found: dict[str, Any], jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    """What a tenant has in storage is what its data sets and checkpoints have."""
    has: Counter[str] = Counter()
    for _, kept in _each(found, "dataset:"):
        has[kept["tenant"]] += int(kept.get("bytes", 0))
    for job_id, kept in _each(found, "checkpoints:"):
        if job_id in jobs:
            has[jobs[job_id]["tenant"]] += sum(json.loads(raw).get("num_bytes", 0) for raw in kept.values())
    told = Counter({tenant: int(value) for tenant, value in found.get(f"{PREFIX}stored", {}).items()})
    for tenant in has.keys() | told.keys():
        if has[tenant] != told[tenant]:
            yield f"stored has {told[tenant]} bytes of {tenant}, its data sets and checkpoints {has[tenant]}"


def _wrong_sweeps(found: dict[str, Any], jobs: dict[str, dict[str, str]], scripts: RedisScripts) -> Iterator[str]:
    """Every sweep is in its tenant's list and, until it ends, among the unfinished; it knows its jobs as trials."""
    sweeps = dict(_each(found, "sweep:"))
    listed = {(tenant, sweep_id, int(seq)) for tenant, ids in _each(found, "sweeps:") for sweep_id, seq in ids}
    for tenant, sweep_id, _ in listed ^ {(s["tenant"], sweep_id, int(s["seq"])) for sweep_id, s in sweeps.items()}:
        yield f"the list of sweeps of {tenant} and the record of {sweep_id} do not agree"
    for index, is_over in (("sweeping", False), ("sweeps_ended", True)):
        members = {sweep_id for sweep_id, _ in found.get(f"{PREFIX}{index}", ())}
        for sweep_id in members ^ {sweep_id for sweep_id, s in sweeps.items() if ("finished_at" in s) == is_over}:
            yield f"{index} and the record of {sweep_id} do not agree"
    kept = {
        (sweep_id, number): json.loads(raw)["job"]
        for sweep_id, of in _each(found, "trials:")
        for number, raw in of.items()
    }
    for (sweep_id, number), job_id in kept.items():
        job = jobs.get(job_id or "")
        if sweep_id not in sweeps or (job and (job.get("sweep"), job.get("trial")) != (sweep_id, number)):
            yield f"trial {number} of {sweep_id} and the record of {job_id} do not agree"
    for job_id, job in jobs.items():
        if job.get("sweep") in sweeps and kept.get((job["sweep"], job["trial"])) != job_id:
            yield f"{job_id} is trial {job['trial']} of {job['sweep']}, which does not know it"
    for sweep_id, sweep in sweeps.items():
        if not scripts.is_signed(sweep.get("signature"), sweep_id, sweep["tenant"], sweep["spec"]):
            yield f"{sweep_id} is not as the service wrote it"


def _wrong_records(found: dict[str, Any], jobs: dict[str, dict[str, str]], scripts: RedisScripts) -> Iterator[str]:
    """What ended has a time of its end; the last state that a job told is its own; what it asks for is as signed."""
    for job_id, job in jobs.items():
        state = job.get("state")
        if ("finished_at" in job) != (state in _TERMINAL):
            yield f"{job_id} is {state} and {'has' if 'finished_at' in job else 'has no'} time of its end"
        events = found.get(f"{PREFIX}events:{job_id}", ())
        told = [fields for _, fields in events if fields["type"] == "state"]  # none where they were trimmed
        if not events or (told and json.loads(told[-1]["data"])["state"] != state):
            yield f"{job_id} is {state} and told another state last"
        is_signed = scripts.is_signed(job.get("signature"), job_id, job.get("tenant", ""), job.get("spec", ""))
        if not is_signed and job.get("reason") != "envelope":
            yield f"{job_id} is not as the service wrote it, and not set aside"


def _kept_for_ever(found: dict[str, Any], scripts: RedisScripts) -> Iterator[str]:
    for kind in ("claim:", "idempotency:", "rate:", "try:"):
        for name, _ in _each(found, kind):
            if scripts.redis.pttl(f"{PREFIX}{kind}{name}") == -1:
                yield f"{kind}{name} would stay for ever"
