"""How many workers one Redis carries: their beats and reports, simulated with the real scripts at the real cadence.

Each simulated worker has a job of its own, claimed through the queue, and a connection of its own. It renews its lease
as `ClaimedJob` does, reports progress as `QueueReporter` does on a job of quick steps (the most that a worker ever
sends), and publishes a checkpoint a minute. Redis runs with the service's own arguments, `appendfsync always` included.
For each number of workers: calls needed and answered a second, Redis's share of a core, how late answers came, and the
longest time for which any lease went without being renewed. It breaks where that is over a third of the lease.

    python benchmarks/scale.py [--workers 250 500 1000 ...] [--seconds 10]

Redis and the simulation share the cores of this machine: `load` says what the simulation took itself.
"""

import argparse
import asyncio
import math
import multiprocessing
import random
import statistics
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

import redis

sys.path.insert(0, str(Path(__file__).parent))
from queue_rates import fresh_redis, specs

from services.jobqueue import claims
from services.jobqueue.claims import BEAT_SECONDS, ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Checkpoint, Claim, Progress, Scores, Seats
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from workers.reporter import PROGRESS_SECONDS

LEASE_SECONDS: float = Settings.model_fields["lease_seconds"].default
CHECKPOINT_SECONDS = 60.0
WARM_SECONDS = 2.0
PROCESSES = 2
MARK = b"000000000"


class Load(NamedTuple):
    """What one number of workers did to Redis."""

    workers: int
    needed: float
    answered: float
    redis_cores: float
    load_cores: float
    microseconds: float
    p50_ms: float
    p99_ms: float
    longest_gap: float


def calls_per_second() -> float:
    """What one worker sends: reports renew the lease, so beats are sent only where reports come more seldom."""
    reports = 1 / PROGRESS_SECONDS
    beats = 0.0 if PROGRESS_SECONDS <= BEAT_SECONDS else 1 / BEAT_SECONDS
    return reports + beats + 1 / CHECKPOINT_SECONDS


class Recorder:
    """In place of a Redis: keeps what a ClaimedJob would send, so that it can be sent again as bytes."""

    sent: tuple[Any, ...] = ()

    def run(self, *sent: Any) -> str:
        self.sent = sent
        return "ok"


class Worker(asyncio.Protocol):
    """One trainer: sends when due, whatever was answered before, and remembers how long each answer took."""

    def __init__(self, report: tuple[bytes, bytes], publish: tuple[bytes, bytes]) -> None:
        self.report, self.publish = report, publish
        self.number = 0
        self.waiting: list[float] = []
        self.took: list[float] = []
        self.renewed_at = time.monotonic()
        self.longest_gap = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        loop = asyncio.get_running_loop()
        begin = loop.time() + random.random() * PROGRESS_SECONDS
        loop.call_at(begin, self.send, self.report, begin, PROGRESS_SECONDS)
        begin = loop.time() + random.random() * CHECKPOINT_SECONDS
        loop.call_at(begin, self.send, self.publish, begin, CHECKPOINT_SECONDS)

    def send(self, command: tuple[bytes, bytes], due: float, every: float) -> None:
        self.number += 1
        self.waiting.append(due)
        self.transport.write(b"%b%09d%b" % (command[0], self.number, command[1]))
        asyncio.get_running_loop().call_at(due + every, self.send, command, due + every, every)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        answers = data.count(b"$2\r\nok\r\n")
        if len(data) != answers * len(b"$2\r\nok\r\n"):
            raise RuntimeError(f"Redis answered {data[:200]!r}")
        for _ in range(answers):
            self.took.append(now - self.waiting.pop(0))
        self.longest_gap = max(self.longest_gap, now - self.renewed_at)
        self.renewed_at = now

    def forget(self) -> None:
        self.took.clear()
        self.longest_gap = 0.0


def simulate(socket: str, commands: list[tuple[Any, Any]], seconds: float, together: Barrier, told: Connection) -> None:
    """One process of workers; tells how long each answer took, the longest gap, its share of a core, and the time."""

    async def run() -> None:
        workers = [Worker(*of_worker) for of_worker in commands]
        for worker in workers:
            await asyncio.get_running_loop().create_unix_connection(lambda w=worker: w, socket)  # type: ignore[misc]  # mypy infers no such lambda
            await asyncio.sleep(0.002)  # Redis lets 511 wait; asyncio takes one beyond that for connected
        await asyncio.get_running_loop().run_in_executor(None, together.wait)  # all are connected
        await asyncio.sleep(WARM_SECONDS)
        for worker in workers:
            worker.forget()
        began, busy = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        elapsed, busy = time.monotonic() - began, time.process_time() - busy
        gaps = [max(worker.longest_gap, time.monotonic() - worker.renewed_at) for worker in workers]
        told.send(([took for worker in workers for took in worker.took], max(gaps), busy / elapsed, elapsed))

    asyncio.run(run())


def command(scripts: RedisScripts, sent: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """What goes over the wire for one call of a script, cut where the number of the report stands."""
    name, *arguments = sent
    arguments[4] = MARK
    packed = redis.Connection().pack_command("EVALSHA", scripts._scripts[name].sha, 0, *arguments)
    before, after = b"".join(packed).split(MARK, 1)
    return before, after


def claimed(scripts: RedisScripts, number: int) -> list[Claim]:
    queue = JobQueue(scripts)
    wanted = list(specs(queue).items())
    for job in range(number):
        queue.submit(*wanted[job % len(wanted)])
    found = [claims.claim(scripts, lease_seconds=600, free=Seats(number, 0)) for _ in range(number)]
    return [claim for claim in found if claim]


def calls_of(claim: Claim) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A report and a published checkpoint, as a trainer sends them."""
    recorder = Recorder()
    job = ClaimedJob(recorder, claim, lease_seconds=LEASE_SECONDS)  # type: ignore[arg-type]  # only `run` is called
    metrics = {"bits_per_character": 2.0641, "gradient_norm": 0.81234, "learning_rate": 0.00197, "accuracy": 0.57}
    row = {"step": 1234, "characters": 5054464, "ratio": 0.617, "eta_seconds": 38.2, "characters_per_second": 82519.1}
    row |= {"seconds": 61.25, "train_loss": 1.43217, "validation_loss": None, "metrics": metrics, "epoch": 1}
    progress = Progress(step=1234, characters=5054464, ratio=0.617, eta_seconds=38.2, characters_per_second=82519.1)
    last = Scores(step=1234, train_loss=1.43217, metrics=metrics)
    fields = {"progress": progress.model_dump(), "last": last.model_dump()}
    job.write(fields=fields, events=[("metrics", row)], totals={"steps:lstm": 12, "characters:lstm": 49152})
    report = recorder.sent
    checkpoint = Checkpoint(
        model=f"{claim.job}:step-1234",
        job=claim.job,
        step=1234,
        epoch=1,
        path=f"jobs/{claim.job}/checkpoints/0000001234-000001",
        created_at=1.0,
        validation_loss=1.4307,
        metrics=metrics,
        parameters_sha256="0" * 64,
    )
    event = checkpoint.model_dump() | {"samples": [{"prompt": "The ", "text": "and " * 50}]}
    job.write(events=[("checkpoint", event)], publish=[checkpoint], drop=[1134])
    return report, recorder.sent


def measure(number: int, seconds: float) -> Load:
    with fresh_redis() as url:
        scripts = RedisScripts(url, b"secret")
        calls = [calls_of(claim) for claim in claimed(scripts, number)]
        scripts.run(*calls[0][0])  # Redis knows the script from then on
        commands = [(command(scripts, report), command(scripts, publish)) for report, publish in calls]
        together = multiprocessing.Barrier(PROCESSES + 1)
        pipes = [multiprocessing.Pipe() for _ in range(PROCESSES)]
        children = [
            multiprocessing.Process(
                target=simulate, args=(url[7:], commands[part::PROCESSES], seconds, together, theirs)
            )
            for part, (_, theirs) in enumerate(pipes)
        ]
        for child in children:
            child.start()
        together.wait()
        time.sleep(WARM_SECONDS)
        before, began = spent(scripts), time.monotonic()
        time.sleep(seconds)
        after, elapsed = spent(scripts), time.monotonic() - began
        calls_made, microseconds, cpu = (late - early for early, late in zip(before, after, strict=True))
        answers = [ours.recv() for ours, _ in pipes]
        for child in children:
            child.join()
        scripts.close()
    took = sorted(one for answer in answers for one in answer[0])
    return Load(
        workers=number,
        needed=number * calls_per_second(),
        answered=sum(len(answer[0]) / answer[3] for answer in answers),
        redis_cores=cpu / elapsed,
        load_cores=sum(answer[2] for answer in answers),
        microseconds=microseconds / calls_made,
        p50_ms=1000 * statistics.median(took),
        p99_ms=1000 * took[int(0.99 * (len(took) - 1))],
        longest_gap=max(answer[1] for answer in answers),
    )


def spent(scripts: RedisScripts) -> tuple[int, int, float]:
    """Calls of scripts so far, the microseconds they took, and the seconds of CPU that Redis has had in all."""
    calls, cpu = scripts.redis.info("commandstats")["cmdstat_evalsha"], scripts.redis.info("cpu")
    return calls["calls"], calls["usec"], float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def megabytes_of_a_job() -> float:
    """What a running job takes of Redis's memory once its event stream is as long as it gets."""
    with fresh_redis() as url:
        scripts = RedisScripts(url, b"secret")
        (claim,) = claimed(scripts, 1)
        (name, *arguments), _ = calls_of(claim)
        empty = scripts.redis.info("memory")["used_memory"]
        for number in range(1, 3001):
            scripts.run(name, *arguments[:4], number, *arguments[5:])
        used: int = scripts.redis.info("memory")["used_memory"] - empty
        scripts.close()
        return used / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[250, 500, 1000, 1500, 2000, 3000, 4000])
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    print(f"a worker makes {calls_per_second():.2f} calls a second; the lease is {LEASE_SECONDS:g} s")
    print("workers  needed/s  answered/s  us/call  Redis cores  load cores  p50 ms  p99 ms  longest gap s")
    for number in asked.workers:
        load = measure(number, asked.seconds)
        print(
            f"{number:7d}{load.needed:10.0f}{load.answered:12.0f}{load.microseconds:9.0f}{load.redis_cores:13.2f}"
            f"{load.load_cores:12.2f}{load.p50_ms:8.1f}{load.p99_ms:8.1f}{load.longest_gap:15.2f}",
            flush=True,
        )
        if load.longest_gap > LEASE_SECONDS / 3:
            print(f"{number} workers are too many: leases go unrenewed for over a third of their time")
            break
    size = megabytes_of_a_job()
    print(f"a running job takes {size:.2f} MB of Redis at most: {math.floor(1024 * 0.8 / size)} fill 80% of 1 GB")


if __name__ == "__main__":
    main()
