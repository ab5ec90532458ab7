"""Whether two jobs side by side on one machine leave each other their half of it.

    python benchmarks/neighbours.py [--seconds 20] [--rounds 3]

Two trainers share the cores of this machine. One job trains alone, on the threads of its trainer; then two train at
once. Each of the two is to keep 0.9 of the characters a second that it had alone on the same threads. Beside it stand

- what the two have of half of what one job has alone on all cores (UNROLL_TRAINERS=1);
- what two plain PyTorch loops without a service leave each other (bare_loop.py, one thread each), which is the
  machine's own part, of caches and clocks that cores share;
- how much of a core each part of the service takes while two train.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.running_service import Service, running

TARGET = 0.9
CELLS = ("lstm", "gru", "rnn")
ROLES = {
    "ray::TrainerProcess": "trainers",
    "services.app": "app",
    "workers.dispatcher": "dispatcher",
    "redis-server": "Redis",
    "raylet/raylet": "raylet",
    "gcs_server": "GCS",
}
BARE_LOOP = Path(__file__).with_name("bare_loop.py")
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 8000


def main() -> None:
    """Prints a line for each cell; exits 1 if one of the neighbours has less than it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with running(UNROLL_TRAINERS="1") as service:
        dataset = service.upload(TEXT)
        whole = {cell: _rates(service, dataset, cell, options.seconds, 1)[0] for cell in CELLS}
    worst = 1.0
    with running(UNROLL_TRAINERS="2") as service:
        dataset = service.upload(TEXT)
        for cell in CELLS:
            shares, of_half = [], []
            for _ in range(options.rounds):
                (alone,) = _rates(service, dataset, cell, options.seconds, 1)
                both = _rates(service, dataset, cell, options.seconds, 2)
                shares += [rate / alone for rate in both]
                of_half += [rate / (whole[cell] / 2) for rate in both]
                print(f"{cell:<5} alone {alone:9.0f} characters/s   side by side {both[0]:9.0f} {both[1]:9.0f}")
            median = statistics.median(shares)
            worst = min(worst, median)
            print(f"{cell:<5} of its own rate each keeps {median:.3f}  ({min(shares):.3f}-{max(shares):.3f})")
            print(f"{cell:<5} of half of all cores each has {statistics.median(of_half):.3f}")
    for cell in CELLS:
        shares = [share for _ in range(options.rounds) for share in _plain_shares(cell, options.seconds)]
        print(f"{cell:<5} plain loops keep {statistics.median(shares):.3f}  ({min(shares):.3f}-{max(shares):.3f})")
    sys.exit(0 if worst >= TARGET else 1)


def _rates(service: Service, dataset: str, cell: str, seconds: float, num_jobs: int) -> list[float]:
    """Characters a second of training of so many jobs at once; validation is none of it."""
    spec: dict[str, Any] = {
        "dataset": dataset,
        "model": {"cell": cell, "hidden_size": 256},
        "train": {"max_seconds": seconds, "validate_every_steps": 100_000, "precision": "fp32"},
    }
    answers = [service.api.post("/v1/jobs", json=spec) for _ in range(num_jobs)]
    jobs = [answer.raise_for_status().json()["id"] for answer in answers]
    if num_jobs > 1:
        for job in jobs:
            service.stepped(job, 1)
        print(f"{cell:<5} cores taken by each part: {_taken(service, seconds / 2)}")
    time.sleep(seconds / 4)  # who asks how it goes takes some of it
    records = [service.ended(job, seconds + 120) for job in jobs]
    rates = []
    for record in records:
        assert record["state"] == "succeeded", record["error"]
        last = service.api.get(f"/v1/jobs/{record['id']}/metrics").raise_for_status().json()["data"][-1]
        rates.append(last["characters"] / last["training_seconds"])
    return rates


def _taken(service: Service, seconds: float) -> str:
    """Processor time of the parts of the service over the next `seconds`, as a share of one core each."""
    before = _processor_time(service)
    time.sleep(seconds)
    taken = _processor_time(service)
    taken.subtract(before)
    return "  ".join(f"{role} {spent / seconds:.3f}" for role, spent in taken.most_common() if spent > 0)


def _processor_time(service: Service) -> Counter[str]:
    """Seconds so far, by role, of the processes that are there."""
    spent: Counter[str] = Counter()
    for process in service.family():
        try:
            command, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        role = next((role for part, role in ROLES.items() if part in command), "other")
        spent[role] += times.user + times.system
    return spent


def _plain_shares(cell: str, seconds: float) -> list[float]:
    """Of the rate of one plain loop, what each of two at once has."""
    (guess,) = _plain_rates(cell, 40, 1)
    steps = 20 + int(seconds * guess / 2048)
    (alone,) = _plain_rates(cell, steps, 1)
    return [rate / alone for rate in _plain_rates(cell, steps, 2)]


def _plain_rates(cell: str, steps: int, number: int) -> list[float]:
    """Characters a second of so many processes at once."""
    with tempfile.NamedTemporaryFile("w") as text:
        text.write(TEXT)
        text.flush()
        command = [sys.executable, str(BARE_LOOP), text.name, cell, "2561", str(steps), "1", "20", "fp32"]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
        return [float(process.communicate()[0]) for process in running]


if __name__ == "__main__":
    main()
