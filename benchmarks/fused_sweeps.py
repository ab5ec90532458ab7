"""A sweep on the running service, its trials fused and not: the clock on the wall from the request to the end.

    python benchmarks/fused_sweeps.py [--trials 8] [--cell lstm:32x1] [--steps 300] [--trainers 2] [--rounds 1]

Both kinds of sweep take turns on one service, whose trainers have a thread each. The largest difference of the best
validation losses of equal trials is told too.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.tinyshakespeare import TEXT
from tests.running_service import Service, running, wait_for

SYMBOLS = 100_000
HOURS = 3_600


def main() -> None:
    """Prints a line for each sweep, then the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--cell", default="lstm:32x1", metavar="CELL:UNITSxLAYERS")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--trainers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"never": [], "auto": []}
    losses: dict[str, list[float]] = {}
    with running(UNROLL_TRAINERS=str(options.trainers), OMP_NUM_THREADS="1") as service:
        dataset = service.upload(options.text.read_text()[:SYMBOLS])
        for _ in range(options.rounds):
            for fuse, spent in seconds.items():
                took, losses[fuse], fused = timed(service, asked(dataset, options, fuse))
                spent.append(took)
                print(f"{fuse:<6} {took:7.1f} s, trials fused with {fused} others", flush=True)
    ratio = statistics.median(seconds["never"]) / statistics.median(seconds["auto"])
    apart = max(abs(a - b) for a, b in zip(losses["auto"], losses["never"], strict=True))
    print(f"{options.trials} trials, {options.cell}, {options.trainers} trainers: {ratio:.2f} times as fast when fused")
    print(f"best validation losses differ by {apart:.1e} at most")


def asked(dataset: str, options: argparse.Namespace, fuse: str) -> dict[str, Any]:
    cell, size = options.cell.split(":")
    hidden, layers = map(int, size.split("x"))
    steps = {"max_steps": options.steps, "validate_every_steps": options.steps, "precision": "fp32"}
    return {
        "spec": {
            "dataset": dataset,
            "model": {"cell": cell, "hidden_size": hidden, "num_layers": layers},
            "train": steps | {"checkpoint_every_steps": options.steps},
        },
        "parameters": {"train.learning_rate": {"values": [1e-3 * (1 + n) for n in range(options.trials)]}},
        "search": {"method": "grid"},
        "fuse": fuse,
    }


def timed(service: Service, body: dict[str, Any]) -> tuple[float, list[float], list[int]]:
    """Seconds, the best loss of each trial, and with how many others each was fused."""
    began = time.monotonic()
    answer = service.api.post("/v1/sweeps", json=body)
    assert answer.status_code == 200, answer.text
    path = f"/v1/sweeps/{answer.json()['id']}"

    def state() -> str:
        return str(service.api.get(path).raise_for_status().json()["state"])

    wait_for(lambda: state() != "running", HOURS, lambda: "the sweep to end")
    took = time.monotonic() - began
    trials = service.api.get(f"{path}/trials", params={"limit": 1000}).json()["data"]
    jobs = [service.job(trial["job"]) for trial in trials]
    assert {job["state"] for job in jobs} == {"succeeded"}, jobs
    return took, [trial["value"] for trial in trials], [len(job["placement"]["fused_with"]) for job in jobs]


if __name__ == "__main__":
    main()
