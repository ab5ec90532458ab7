"""Characters a second of 2 and 4 workers against one at the same global batch, and how far their losses part.

    python benchmarks/data_parallel.py [TEXT] [--device cpu|cuda] [--seconds 10] [--rounds 3] [--batch 64]

rnncore.fit without a service, each worker in a process of its own. On CPUs the workers share the cores of this machine,
so that the ratio shows what working together costs and never what it gains; more workers than cores are oversubscribed.
On GPUs each worker has one, by NCCL, where there are as many; else they share them, by gloo.

ratio      characters/s over those of one worker in the same run; medians over the rounds, which take turns
apart      the largest difference of a reported training loss from that of one worker, in nats
exchange   microseconds that the workers take to agree on a few numbers; they do so twice a step
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"
SIZES = (1, 2, 4)
MODELS = (("lstm", 256), ("lstm", 512), ("gru", 256))
SKIP, FEWEST, WINDOW = 20, 60, 64  # the first steps fill caches and pools


def main() -> None:
    """Prints one row a model and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=TEXT)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=10, help="of one measurement, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64, help="of all workers together")
    parser.add_argument("--as-rank", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        print(json.dumps(as_rank(options, **json.loads(options.as_rank))))
        return
    print(f"{options.device}, {os.cpu_count()} CPUs, global batch {options.batch} x {WINDOW}")
    print("model      workers  characters/s  ratio    apart  exchange")
    for model in MODELS:
        a_few = together(options, model, 1, SKIP + FEWEST)
        steps = SKIP + max(FEWEST, int(options.seconds * a_few["rate"] / (options.batch * WINDOW)))
        found: dict[int, list[dict[str, Any]]] = {size: [] for size in SIZES}
        for _ in range(options.rounds):
            for size in SIZES:
                found[size].append(together(options, model, size, steps))
        alone = found[1][0]["losses"]
        of_one = statistics.median(run["rate"] for run in found[1])
        for size, runs in found.items():
            rate = statistics.median(run["rate"] for run in runs)
            apart = max(abs(a - b) for run in runs for a, b in zip(run["losses"], alone, strict=True))
            exchange = statistics.median(run["exchange"] for run in runs) * 1e6
            name = f"{model[0]} {model[1]}"
            print(f"{name:<10} {size:>7} {rate:>13,.0f} {rate / of_one:>6.2f} {apart:>8.1e} {exchange:>9.0f}")


def together(options: argparse.Namespace, model: tuple[str, int], size: int, steps: int) -> dict[str, Any]:
    """What rank 0 of so many says."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = []
        for rank in range(size):
            asked = {"rank": rank, "size": size, "store": f"{folder}/store", "model": model, "steps": steps}
            arguments = ["--device", options.device, "--batch", str(options.batch), "--as-rank", json.dumps(asked)]
            command = [sys.executable, __file__, str(options.text), *arguments]
            hidden = {} if options.device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
            ranks.append(subprocess.Popen(command, env=os.environ | hidden, stdout=subprocess.PIPE, text=True))
        said = [process.communicate()[0] for process in ranks]
    if any(process.returncode for process in ranks):
        sys.exit("a worker failed")
    answer: dict[str, Any] = json.loads(said[0])
    return answer


def as_rank(
    options: argparse.Namespace, rank: int, size: int, store: str, model: tuple[str, int], steps: int
) -> dict[str, Any]:
    """Trains as one of `size`; characters a second, losses, and seconds of one exchange."""
    # Here, for the process that starts the workers needs none of it.
    import torch
    from torch import distributed

    from rnncore.corpus import TextScan
    from rnncore.fit import Job, fit
    from rnncore.load import load
    from rnncore.plans import make_plan
    from rnncore.ranks import Ranks
    from rnncore.spec import JobSpec

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    num_devices = torch.cuda.device_count() if options.device == "cuda" else 0
    if num_devices:
        torch.cuda.set_device(rank % num_devices)
    backend = "nccl" if num_devices >= size else "gloo"
    distributed.init_process_group(backend, init_method=f"file://{store}", rank=rank, world_size=size)
    ranks = Ranks.of_process_group()
    cell, hidden = model
    limits = {"max_steps": steps, "validate_every_steps": steps, "checkpoint_every_steps": steps}
    spec = JobSpec.model_validate(
        {
            "dataset": f"ds-{0:032}",
            "model": {"cell": cell, "hidden_size": hidden, "dropout": 0},
            "train": {"batch_size": options.batch, "tbptt_steps": WINDOW, "precision": "fp32", **limits},
        }
    )
    scan = TextScan("characters")
    scan.feed(options.text.read_bytes())
    summary = scan.summary()
    observer = Silent()
    fit(Job("job", 1, spec), load(spec, make_plan(spec, summary), summary, options.text), observer, ranks=ranks)
    began_at = time.perf_counter()
    for _ in range(500):
        ranks.greatest(0.0, 0.0, 0.0)
    exchange = (time.perf_counter() - began_at) / 500
    distributed.destroy_process_group()
    if rank:
        return {}
    *training, _ = observer.points  # the last came after the validation
    counted = [(at, point.characters) for at, point in training if point.step >= SKIP]
    (first_at, first), (last_at, last) = counted[0], counted[-1]
    return {
        "rate": (last - first) / (last_at - first_at),
        "losses": curve([point for _, point in observer.points]),
        "exchange": exchange,
    }


def curve(points: list[Any]) -> list[float]:
    """Mean losses over every ten steps, however many points a slow run has between."""
    means, total, since, before = [], 0.0, 0, 0
    for point in points:
        total += point.train_loss * (point.characters - before)
        before = point.characters
        if point.step % 10 == 0:
            means.append(total / (before - since))
            total, since = 0.0, before
    return means


class Silent:
    """An Observer that keeps the points and when each came."""

    def __init__(self) -> None:
        self.points: list[tuple[float, Any]] = []

    def wants_suspension(self) -> bool:
        return False

    def before_step(self) -> None: ...

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr)

    def after_point(self, point: Any) -> None:
        self.points.append((time.perf_counter(), point))

    def after_checkpoint(self, snapshot: Any, samples: Any, *, is_best: bool) -> None: ...


if __name__ == "__main__":
    main()
