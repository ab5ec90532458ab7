"""How fast the queue takes and hands out jobs, and whether that depends on how many wait.

For 100, 10,000 and 100,000 queued jobs of ten tenants: submissions a second (one after another, and 8 at once), and the
time of a claim (median and 99th percentile) with so many waiting. Then no-op jobs through the queue, docket and
streaq in the same run, each on a fresh Redis with `appendfsync always`: the ratio is what counts.

    python benchmarks/queue_rates.py [--peers PYTHON] [--sizes 100 10000 100000]

`--peers` is a Python that has pydocket and streaq; without it the peers are left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rnncore.corpus import TextSummary
from rnncore.spec import JobSpec
from services.embedded_redis import redis_arguments, redis_command
from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Dataset
from services.jobqueue.scripts import RedisScripts
from services.processes import Child

TENANTS = 10
CLAIMS = 400
PEER_JOBS = 1000


@contextmanager
def fresh_redis() -> Iterator[str]:
    """The embedded Redis with the very arguments of the service, empty."""
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as name:
        folder = Path(name)
        command = [*redis_command(), *redis_arguments(folder / "redis.sock", folder)]
        child = Child("redis", command, dict(os.environ), folder / "log")
        child.start()
        while not (folder / "redis.sock").exists():
            time.sleep(0.01)
        try:
            yield f"unix://{folder / 'redis.sock'}"
        finally:
            child.stop()


def specs(queue: JobQueue) -> dict[str, JobSpec]:
    """A job for each tenant, whose data set is there."""
    summary = TextSummary(vocabulary="characters", num_symbols=7, symbols="abc", offsets=(0, 1, 2))
    made = {}
    for number in range(TENANTS):
        tenant, dataset = f"tenant-{number}", f"ds-{number:032}"
        fields = {"kind": "text", "created_at": 0, "num_bytes": 7, "sha256": "5" * 64, "summary": summary}
        queue.datasets.put(Dataset(id=dataset, tenant=tenant, **fields), "blob")
        made[tenant] = JobSpec.model_validate({"dataset": dataset})
    return made


def run_one(scripts: RedisScripts) -> float:
    """Claims a job and finishes it; answers how long the claim took, in milliseconds."""
    began = time.perf_counter()
    held = claims.claim(scripts, lease_seconds=30)
    took = time.perf_counter() - began
    assert held is not None
    ClaimedJob(scripts, held, lease_seconds=30).finish("succeeded", "0" * 64)
    return 1000 * took


def at_size(size: int) -> dict[str, float]:
    with fresh_redis() as url:
        scripts = RedisScripts(url, b"secret")
        queue = JobQueue(scripts)
        wanted = list(specs(queue).items())
        alone = min(size, 1000) // 2
        began = time.perf_counter()
        for number in range(alone):
            queue.submit(*wanted[number % TENANTS])
        one = alone / (time.perf_counter() - began)
        began = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: queue.submit(*wanted[number % TENANTS]), range(size - alone)))
        eight = (size - alone) / (time.perf_counter() - began)
        took = sorted(run_one(scripts) for _ in range(min(CLAIMS, size)))
        scripts.close()
        return {
            "submits/s": one,
            "submits/s by 8": eight,
            "claim p50 ms": statistics.median(took),
            "claim p99 ms": took[int(0.99 * (len(took) - 1))],
        }


def ours() -> dict[str, float]:
    with fresh_redis() as url:
        scripts = RedisScripts(url, b"secret")
        queue = JobQueue(scripts)
        tenant, spec = next(iter(specs(queue).items()))
        began = time.perf_counter()
        for _ in range(PEER_JOBS):
            queue.submit(tenant, spec)
        submitted = time.perf_counter()
        for _ in range(PEER_JOBS):
            run_one(scripts)
        scripts.close()
        return {"submit": submitted - began, "drain": time.perf_counter() - submitted}


def peer(python: str, name: str) -> dict[str, float]:
    with fresh_redis() as url:
        script = Path(__file__).with_name("queue_peers.py")
        done = subprocess.run(
            [python, str(script), name, url, str(PEER_JOBS)], capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
        answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", help="a Python that has pydocket and streaq")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000, 100_000])
    asked = parser.parse_args()
    rows = {size: at_size(size) for size in asked.sizes}
    print(f"{'queued':>8}", *(f"{name:>15}" for name in next(iter(rows.values()))))
    for size, row in rows.items():
        print(f"{size:8d}", *(f"{value:15.2f}" for value in row.values()))
    smallest, largest = rows[asked.sizes[0]], rows[asked.sizes[-1]]
    for name in ("claim p50 ms", "claim p99 ms"):
        growth = largest[name] / smallest[name]
        print(f"{name}: {growth:.2f} times as long with {asked.sizes[-1]} queued as with {asked.sizes[0]}")
    print(
        f"\n{PEER_JOBS} no-op jobs, one client, one worker (ours with one place, the peers as they come); jobs a second"
    )
    found = {"unroll": ours()}
    for name in ("docket", "streaq") if asked.peers else ():
        try:
            found[name] = peer(asked.peers, name)
        except RuntimeError as error:
            print(error, file=sys.stderr)
    for name, took in found.items():
        ratio = "".join(f", ours {took[what] / found['unroll'][what]:.2f}x in {what}" for what in took)
        print(f"{name:>8}  submit {PEER_JOBS / took['submit']:7.0f}  run {PEER_JOBS / took['drain']:7.0f}{ratio}")


if __name__ == "__main__":
    main()
