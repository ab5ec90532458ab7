"""What all threads of this machine gain a job over one, and whether it takes them: rnncore.fit.threads_for.

    python benchmarks/threads.py [--steps 80] [--rounds 2]

Small networks on few streams (4 x 16 symbols) and on many (32 x 64), one layer, fp32, in this process; steps a second,
the median step of the better round. A line whose choice is the slower one by a fifth or more is marked.
"""

import argparse
import os
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from rnncore.fit import Job, fit, threads_for
from rnncore.spec import JobSpec
from rnncore.text import TextData
from rnncore.vocabulary import BYTES

STREAMS = ((4, 16), (32, 64))
SIZES = (16, 32, 64, 128, 192, 256, 384)
NEVER = 1_000_000


def main() -> None:
    """Prints a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    text = np.random.default_rng(0).integers(97, 123, 200_000).astype(np.uint8)
    data = TextData(BYTES, text, text[:2000])
    for batch_size, window in STREAMS:
        for cell in ("rnn", "gru", "lstm"):
            for hidden_size in SIZES:
                spec = JobSpec.model_validate(
                    {
                        "dataset": f"ds-{0:032}",
                        "model": {"cell": cell, "hidden_size": hidden_size, "embedding_size": min(hidden_size, 128)},
                        "train": {
                            "batch_size": batch_size,
                            "tbptt_steps": window,
                            "max_steps": options.steps,
                            "validate_every_steps": NEVER,
                            "checkpoint_every_steps": NEVER,
                            "precision": "fp32",
                        },
                    }
                )
                one, all_ = (max(_rate(spec, data, n) for _ in range(options.rounds)) for n in (1, cores))
                chosen = threads_for(spec, cores)
                is_slower = max(one, all_) > 1.2 * (one if chosen == 1 else all_)
                network = f"{batch_size:2} x {window:2}  {cell:<4} {hidden_size:3}"
                rates = f"1 thread {one:6.1f}   {cores} {all_:6.1f}   gain {all_ / one:4.2f}"
                print(f"{network}   {rates}   takes {chosen}{'  (slower)' if is_slower else ''}", flush=True)


def _rate(spec: JobSpec, data: TextData, threads: int) -> float:
    """Steps a second, without the first quarter."""
    torch.set_num_threads(threads)
    watch = _Watch()
    fit(Job("job-1", 1, spec), data, watch)
    steps = watch.began[len(watch.began) // 4 :]
    return 1 / statistics.median(later - earlier for earlier, later in pairwise(steps))


class _Watch:
    """Observes when each step begins."""

    def __init__(self) -> None:
        self.began: list[float] = []

    def before_step(self) -> None:
        self.began.append(time.perf_counter())

    def wants_suspension(self) -> bool:
        return False

    def warn(self, text: str) -> None: ...
    def after_point(self, point: Any) -> None: ...
    def after_checkpoint(self, snapshot: Any, samples: Any, *, is_best: bool) -> None: ...


if __name__ == "__main__":
    main()
