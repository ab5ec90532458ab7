"""Trials of a sweep as one batched program, beside the same jobs run separately, in the same run.

    python benchmarks/fused.py [TEXT] [--steps 100] [--only lstm:64x1:8 ...] [--device cuda] [--rounds 1]

For each cell, size and number J of trials, seconds for all of them to the end (first step to last checkpoint, imports
not counted), each way in processes of its own:

after      one after another, on all threads of the machine
single     one after another, on one thread
pairs      two processes at a time, half of the jobs in each, on half of the threads each
fused      all of them by rnncore.fused, on all threads
one        all of them by rnncore.fused, on one thread
halves     two processes, half of the jobs fused in each, on half of the threads each

Compared by the clock on the wall are what one trainer does with and without (`fused` and `one` with `after`), and two
trainers (`halves` with `pairs`); where neighbours disturb that, the processor time of all threads is the better judge
(`cpu`: `one` with `single`).
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from rnncore.corpus import TextScan
from rnncore.fit import Job, fit
from rnncore.fused import Trial, fit_fused
from rnncore.load import load
from rnncore.plans import make_plan
from rnncore.spec import JobSpec

TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"
THREADS = torch.get_num_threads()
SYMBOLS = 400_000  # of the text; so many that no run reaches their end
VALIDATED = 2_000
WAYS = ("after", "single", "pairs", "fused", "one", "halves")
CELLS, SIZES, NUMBERS = ("rnn", "gru", "lstm"), ("32x1", "64x1"), (8, 32)
CASES = [f"{cell}:{size}:{number}" for number in NUMBERS for size in SIZES for cell in CELLS]


class Silent:
    """An Observer that asks for nothing."""

    def wants_suspension(self) -> bool:
        return False

    def before_step(self) -> None: ...
    def warn(self, text: str) -> None: ...
    def after_point(self, point: Any) -> None: ...
    def after_checkpoint(self, snapshot: Any, samples: Any, *, is_best: bool) -> None: ...


def main() -> None:
    """Prints one row a cell, size and number of trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=TEXT)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=CASES, metavar="CELL:UNITSxLAYERS:TRIALS[:STREAMS]")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="single and one have to be among them")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.text, **json.loads(options.child))
        return
    print(f"{options.device}, {THREADS} threads, {options.steps} steps")
    print(f"{'':<22}{'seconds':>8}{'':<40}{'times as fast':>22}")
    print(f"{'case':<22}" + "".join(f"{way:>8}" for way in WAYS) + "    fused      one   halves      cpu")
    for case in options.only:
        row(options, case)


def row(options: argparse.Namespace, case: str) -> None:
    """Measures one case, its ways in turns, and prints the medians."""
    half = max(1, THREADS // 2)
    number = int(case.split(":")[2])
    every, first, second = range(number), range(number // 2), range(number // 2, number)
    ways: dict[str, list[tuple[Sequence[int], int, bool]]] = {
        "after": [(every, THREADS, False)],
        "single": [(every, 1, False)],
        "pairs": [(first, half, False), (second, half, False)],
        "fused": [(every, THREADS, True)],
        "one": [(every, 1, True)],
        "halves": [(first, half, True), (second, half, True)],
    }
    wall: dict[str, list[float]] = {way: [] for way in options.ways}
    cpu: dict[str, list[float]] = {way: [] for way in options.ways}
    for _ in range(options.rounds):
        for way in options.ways:
            found = measured(options, case, ways[way])
            wall[way].append(max(seconds for seconds, _ in found))
            cpu[way].append(sum(seconds for _, seconds in found))
    at = {way: statistics.median(seconds) for way, seconds in wall.items()}
    busy = {way: statistics.median(seconds) for way, seconds in cpu.items()}
    pairs = (("after", "fused"), ("after", "one"), ("pairs", "halves"))
    ratios = [at[slow] / at[fast] if {slow, fast} <= at.keys() else math.nan for slow, fast in pairs]
    print(
        f"{case:<22}"
        + "".join(f"{at.get(way, math.nan):>8.2f}" for way in WAYS)
        + "".join(f"{ratio:>9.2f}" for ratio in (*ratios, busy["single"] / busy["one"])),
        flush=True,
    )


def measured(
    options: argparse.Namespace, case: str, parts: list[tuple[Sequence[int], int, bool]]
) -> list[tuple[float, float]]:
    """Wall and processor seconds of processes that begin together."""
    running = []
    for seeds, threads, is_fused in parts:
        asked = {"case": case, "steps": options.steps, "device": options.device, "seeds": [*seeds]}
        asked |= {"threads": threads, "is_fused": is_fused}
        command = [sys.executable, __file__, str(options.text), "--child", json.dumps(asked)]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0].split() for process in running]
    return [(float(wall), float(cpu)) for wall, cpu in answers]


def child(text: Path, *, case: str, steps: int, device: str, seeds: list[int], threads: int, is_fused: bool) -> None:
    """Trains these trials when told to, and prints how long that took."""
    torch.set_num_threads(threads)
    if device == "cpu":
        torch.cuda.is_available = lambda: False
    elif not torch.cuda.is_available():
        raise SystemExit("no CUDA device here")
    jobs = [Job(f"job-{seed}", 1, spec(case, steps, seed)) for seed in seeds]
    scan = TextScan("characters")
    scan.feed(text.read_bytes())
    summary = scan.summary()
    data = load(jobs[0].spec, make_plan(jobs[0].spec, summary, None, None), summary, text)
    data = data._replace(training=data.training[:SYMBOLS], validation=data.validation[:VALIDATED])
    train([Job("warm", 1, spec(case, 3, 0))] * 2, data, is_fused)
    print("ready", flush=True)
    sys.stdin.readline()
    wall, cpu = time.perf_counter(), time.process_time()
    train(jobs, data, is_fused)
    print(time.perf_counter() - wall, time.process_time() - cpu)


def train(jobs: list[Job], data: Any, is_fused: bool) -> None:
    """All of them, in one of the two ways."""
    if is_fused:
        errors = fit_fused([Trial(job, Silent()) for job in jobs], data)
        assert not any(errors), errors
    else:
        for job in jobs:
            fit(job, data, Silent())


def spec(case: str, steps: int, seed: int) -> JobSpec:
    """Trial `seed` of the sweep."""
    cell, size, _, *streams = case.split(":")
    hidden, layers = map(int, size.split("x"))
    model = {"cell": cell, "hidden_size": hidden, "num_layers": layers, "embedding_size": 128}
    batch_size = int(streams[0]) if streams else 32
    train = {
        "batch_size": batch_size,
        "tbptt_steps": 64,
        "max_steps": steps,
        "precision": "fp32",
        "seed": seed,
    }
    train |= {"learning_rate": 2e-3 + 1e-4 * seed, "validate_every_steps": steps, "checkpoint_every_steps": steps}
    return JobSpec.model_validate({"dataset": f"ds-{0:032}", "model": model, "train": train})


if __name__ == "__main__":
    main()
