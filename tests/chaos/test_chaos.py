"""Faults at random moments under load: nothing acknowledged is lost, nothing is done twice, every result is the same.

Real processes, a real Redis with `appendfsync always`, jobs that really train; `make soak`: 500 jobs, 200 faults.
"""

import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded_redis import bundled_redis, redis_arguments, redis_command, repair_append_only_files
from services.jobqueue.audit import audit
from services.jobqueue.records import JobState
from services.jobqueue.scripts import RedisScripts
from services.processes import Child
from tests.chaos.faults import Faults
from tests.chaos.lateness import (
    Deed,
    accepted_after_a_higher_epoch,
    claims_of,
    late_deeds,
    read_deeds,
    table,
)
from tests.chaos.redis_proxy import RedisProxy
from tests.running_service import Service, wait_for

LEASE_SECONDS = 3.0
BEAT_SECONDS = 0.3
AT_ONCE_SECONDS = 0.02  # between asking whether the job is still ours and the deed, a process can be stopped
WITNESS = Path(__file__).parent / "witness"
SEEDS = 4
SEED = int(os.environ.get("CHAOS_SEED", "1"))
DISK_BYTES = 128 << 20
DISK_BYTES_PER_JOB = 1 << 20  # what a tiny job leaves behind is about half of it
RESERVE_BYTES = 16 << 20
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
TRAIN = {"max_steps": 120, "checkpoint_every_steps": 30, "validate_every_steps": 60, "batch_size": 4, "tbptt_steps": 16}
_TERMINAL = {state for state in JobState if state.is_terminal}


class Load:
    """Submits jobs and watches them from outside, through whatever happens to the service."""

    def __init__(self, service: Service, dataset: str, number: int, seed: int) -> None:
        self._api = httpx.Client(base_url=service.api.base_url, headers=service.api.headers, timeout=5)
        self._dataset = dataset
        self._number = number
        self._random = random.Random(seed)
        self._seen: dict[str, str] = {}
        self.seeds: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.changed_ends: list[str] = []
        self.outcomes: Counter[str] = Counter()

    def submit_all(self, pause_seconds: float) -> None:
        """Each job with a key of its own, asked until it is acknowledged; some are paused and resumed or cancelled."""
        for number in range(self._number):
            seed = number % SEEDS
            job_id = self._ask("POST", "/v1/jobs", job(self._dataset, seed), {"idempotency-key": f"job {number}"})["id"]
            self.seeds[job_id] = seed
            if number % 10 == 3:
                for what in ("pause", "resume"):
                    self._ask("POST", f"/v1/jobs/{job_id}/{what}")
            if number % 25 == 7:
                self._ask("POST", f"/v1/jobs/{job_id}/cancel")
                self.cancelled.add(job_id)
            time.sleep(self._random.uniform(0, 2 * pause_seconds))

    def records(self) -> dict[str, dict[str, Any]]:
        """All jobs as the API lists them now; an end that was seen before must be the same."""
        found: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            page = self._ask("GET", "/v1/jobs?limit=200" + after)
            found |= {record["id"]: record for record in page["data"]}
            after = f"&after={page['last_id']}"
            if not page["has_more"]:
                break
        for job_id, record in found.items():
            before = self._seen.get(job_id)
            if before in _TERMINAL and before != record["state"]:
                self.changed_ends.append(f"{job_id}: {before}, then {record['state']}")
            self._seen[job_id] = record["state"]
        return found

    def states(self) -> Counter[str]:
        return Counter(record["state"] for record in self.records().values())

    def close(self) -> None:
        self._api.close()

    def _ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        deadline, said = time.monotonic() + 120, ""
        while True:
            try:
                answer = self._api.request(method, path, json=body, headers=headers)
                said = answer.text
                self.outcomes[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    return answer.json()
                assert answer.status_code in (503, 507), answer.text
            except httpx.HTTPError as error:
                self.outcomes[type(error).__name__] += 1
            assert time.monotonic() < deadline, f"{method} {path}: no answer for two minutes: {said}"
            time.sleep(0.2)


def job(dataset: str, seed: int) -> dict[str, Any]:
    model = {"hidden_size": 16, "embedding_size": 8, "num_layers": 1, "dropout": 0.2}
    return {"dataset": dataset, "model": model, "train": TRAIN | {"seed": seed}}


def mount_small_disk(folder: Path, num_bytes: int) -> bool:
    """Puts a disk of its own under `folder`, small enough to be filled; whether that was allowed."""
    if os.geteuid() != 0:
        return False
    mount = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@contextmanager
def chaotic_service(num_jobs: int) -> Iterator[tuple[Service, Faults, RedisProxy, str, Path]]:
    """A service whose every word to Redis passes a proxy, and the faults that may befall it."""
    folder = Path(tempfile.mkdtemp(prefix="unroll-chaos-"))
    notes = Path(tempfile.mkdtemp(prefix="unroll-witness-"))
    is_mounted = mount_small_disk(folder, DISK_BYTES + num_jobs * DISK_BYTES_PER_JOB)
    clock = folder / "clock"
    clock.write_text("+0")
    environment, program = dict(os.environ), redis_command()
    has_clock = FAKETIME.exists() and bundled_redis() is not None
    if has_clock:
        program = [bundled_redis() or ""]  # Debian's has an allocator that libfaketime cannot live with
        environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    data = folder / "redis"
    data.mkdir()
    command = [*program, *redis_arguments(folder / "back.sock", data)]
    redis = Child("redis", command, environment, folder / "redis.log", lambda: repair_append_only_files(data))
    redis.start()
    back = f"unix://{folder / 'back.sock'}"
    wait_for(lambda: (folder / "back.sock").exists(), 10, lambda: "Redis")
    with RedisProxy(folder / "front.sock", folder / "back.sock") as proxy:
        service = Service(
            folder / "home",
            UNROLL_LEASE_SECONDS=str(LEASE_SECONDS),
            UNROLL_TRAINERS="2",
            UNROLL_RESERVE_BYTES=str(RESERVE_BYTES) if is_mounted else "0",
            REDIS_URL=proxy.url,
            PYTHONPATH=str(WITNESS),
            UNROLL_TEST_WITNESS=str(notes),
        )
        (folder / "home").mkdir()
        try:
            service.start()
            faults = Faults(
                service, redis, data, proxy, lease_seconds=LEASE_SECONDS, seed=SEED, clock=clock if has_clock else None
            )
            yield service, faults, proxy, back, notes
        finally:
            if os.environ.get("KEEP_LOGS"):
                shutil.copytree(folder / "home" / "logs", os.environ["KEEP_LOGS"], dirs_exist_ok=True)
            service.stop()
            redis.stop()
            if is_mounted:
                subprocess.run(["umount", "--lazy", str(folder)], check=True)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(notes)


def test_nothing_is_lost_or_done_twice(text: str) -> None:
    run(text, num_jobs=25, num_faults=12)


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_500_jobs_under_200_faults(text: str) -> None:
    run(text, num_jobs=500, num_faults=200)


def run(text: str, *, num_jobs: int, num_faults: int) -> None:
    began = time.monotonic()
    with chaotic_service(num_jobs) as (service, faults, proxy, back, notes):
        dataset = service.upload(text[:8000])
        quiet = [service.api.post("/v1/jobs", json=job(dataset, seed)).json()["id"] for seed in range(SEEDS)]
        expected = [service.ended(job_id)["parameters_sha256"] for job_id in quiet]
        load = Load(service, dataset, num_jobs, seed=2)
        submitter = threading.Thread(target=load.submit_all, args=(3.0 * num_faults / num_jobs,), daemon=True)
        submitter.start()
        injected: Counter[str] = Counter()
        pauses = random.Random(3)
        while sum(injected.values()) < num_faults:
            time.sleep(pauses.uniform(0, 3))
            name, has_hit = faults.one()
            if has_hit:
                injected[name] += 1
                print(f"{time.monotonic() - began:6.1f} s {name}", flush=True)
            load.records()
        submitter.join(300)
        assert len(load.seeds) == num_jobs
        records = wait_for(lambda: _all_ended(load), 900, lambda: f"all jobs to end: {load.states()}")
        scripts = RedisScripts(back, (service.home / "secret").read_text().strip().encode())
        broken = audit(scripts)
        scripts.close()
        load.close()
        deeds: list[Deed] = read_deeds(notes)
    acknowledged = {job_id: records.get(job_id) for job_id in load.seeds}
    lost = [job_id for job_id, record in acknowledged.items() if record is None]
    twice = len(records) - SEEDS - len(load.seeds)
    ended = Counter(
        (record["state"], (record["error"] or {}).get("type")) for record in acknowledged.values() if record is not None
    )
    other = [
        job_id
        for job_id, record in acknowledged.items()
        if record and record["state"] == "succeeded" and record["parameters_sha256"] != expected[load.seeds[job_id]]
    ]
    accepted = accepted_after_a_higher_epoch(proxy.calls)
    late = late_deeds(deeds, claims_of(proxy.calls), faults.pauses)
    attempts = Counter(record["attempt"] for record in acknowledged.values() if record)
    print(f"\n{num_jobs} jobs, {sum(injected.values())} faults, {time.monotonic() - began:.0f} s")
    for name, times in sorted(injected.items()):
        print(f"  {times:4d} {name}")
    print(f"  answers to the client: {dict(load.outcomes)}; starts of a job: {dict(sorted(attempts.items()))}")
    ends = (f"{times} {state} {kind or ''}".strip() for (state, kind), times in ended.items())
    print("  ends:", ", ".join(ends))
    print(f"  lost {len(lost)}, twice {twice}, ends changed {len(load.changed_ends)}, other parameters {len(other)}")
    print(f"  calls seen {len(proxy.calls)}, of an epoch accepted after a higher one was claimed {len(accepted)}")
    for what, seen in table(late, deeds).items():
        print(f"  {what}: {seen}")
    assert (lost, twice, load.changed_ends, other, accepted, broken) == ([], 0, [], [], [], [])
    assert [one for one in late if one.ran_seconds > BEAT_SECONDS] == []
    assert [one for one in late if one.deed.what != "step" and one.ran_seconds > AT_ONCE_SECONDS] == []
    unexpected = [
        (job_id, record["state"], record["error"])
        for job_id, record in acknowledged.items()
        if record and record["state"] not in ("succeeded", *(["cancelled"] if job_id in load.cancelled else ()))
    ]
    assert unexpected == []


def _all_ended(load: Load) -> dict[str, dict[str, Any]] | None:
    records = load.records()
    return records if all(record["state"] in _TERMINAL for record in records.values()) else None
