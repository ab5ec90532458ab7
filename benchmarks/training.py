"""Characters a second through the service, beside a bare loop of the same model over torch.nn, in the same run.

    python benchmarks/training.py [TEXT] [--seconds 5] [--rounds 3] [--only lstm:512x1]

For each cell and size, in turns, so that a noisy moment meets all alike; medians over the rounds:

bare       benchmarks/bare_loop.py, no service on the machine: same optimizer, clipping, batch, window, threads
idle       the same while the service stands idle: what its processes take from a neighbour
fit        rnncore.fit alone: Lightning, our callbacks and kernels; no Ray, no queue
service    wall time between two reports of a job: all of the above, Ray, the lease and the reporter

The share of the peak is that of `service`, at 6 operations a weight and character (2 forwards, 4 backwards); the peak
is that of a square product of matrices in the same precision.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from rnncore.corpus import TextScan
from rnncore.fit import Job, fit
from rnncore.load import load
from rnncore.plans import make_plan
from rnncore.spec import JobSpec
from tests.running_service import Service, running

TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"
BARE = Path(__file__).parent / "bare_loop.py"
CELLS, SIZES = ("rnn", "lstm", "gru"), ((64, 1), (128, 2), (256, 2), (512, 1))
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
SKIP = 20  # the first steps fill caches and pools
THREADS = torch.get_num_threads()
EMBEDDING, BATCH, WINDOW = 128, 32, 64


class Silent:
    """An Observer that keeps when each point came."""

    def __init__(self) -> None:
        self.points: list[tuple[float, int, bool]] = []

    def wants_suspension(self) -> bool:
        return False

    def before_step(self) -> None: ...

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr)

    def after_point(self, point: Any) -> None:
        self.points.append((time.perf_counter(), point.step, point.validation_loss is not None))

    def after_checkpoint(self, snapshot: Any, samples: Any, *, is_best: bool) -> None: ...


def main() -> None:
    """Prints one row a cell, size and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=TEXT)
    parser.add_argument("--seconds", type=float, default=5, help="of one measurement, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="CELL:UNITSxLAYERS")
    parser.add_argument("--fit-alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit_alone:
        print(fit_alone(options.text, json.loads(options.fit_alone)))
        return
    cases = [
        (cell, hidden, layers, precision)
        for precision in ("fp32", "bf16-mixed")
        for hidden, layers in SIZES
        for cell in CELLS
        if precision == "fp32" or (hidden, layers) in ((128, 2), (512, 1))
        if options.only in (None, f"{cell}:{hidden}x{layers}")
    ]
    peaks = {"fp32": matrix_peak(torch.float32), "bf16-mixed": matrix_peak(torch.bfloat16)}
    print(
        f"{THREADS} threads; matrix peak fp32 {peaks['fp32'] / 1e9:.0f}, bf16 {peaks['bf16-mixed'] / 1e9:.0f} GFLOP/s"
    )
    steps = {case: steps_for(options.text, case, options.seconds) for case in cases}
    rates: dict[tuple[Any, ...], dict[str, list[float]]] = {case: {} for case in cases}

    def measure(level: str, case: tuple[Any, ...], rate: float) -> None:
        rates[case].setdefault(level, []).append(rate)

    for _ in range(options.rounds):
        for case in cases:
            measure("bare", case, bare(options.text, case, steps[case]))
            measure("fit", case, fit_in_process(options.text, case, steps[case]))
    with running() as service:
        dataset = service.upload(options.text.read_text())
        for _ in range(options.rounds):
            for case in cases:
                measure("idle", case, bare(options.text, case, steps[case]))
                measure("service", case, through_service(service, dataset, case, steps[case]))
    print(
        "characters/s                     bare    idle     fit  service   fit/bare  service/bare  service/idle  of peak"
    )
    for case in cases:
        found = {level: statistics.median(of_level) for level, of_level in rates[case].items()}
        cell, hidden, layers, precision = case
        share = found["service"] * operations(cell, hidden, layers) / peaks[precision]
        print(
            f"{cell:<5} {hidden:>3}x{layers} {precision:<12} "
            + "".join(f"{found[level]:>9,.0f}" for level in ("bare", "idle", "fit", "service"))
            + f"{found['fit'] / found['bare']:>11.3f}{found['service'] / found['bare']:>14.3f}"
            + f"{found['service'] / found['idle']:>14.3f}{share:>9.1%}"
        )
    for cell in CELLS:
        fp32, bf16 = (rates.get((cell, 512, 1, precision)) for precision in ("fp32", "bf16-mixed"))
        if fp32 and bf16:
            ratio = statistics.median(bf16["service"]) / statistics.median(fp32["bare"])
            print(f"{cell:<5} 512x1, bf16 through the service over fp32 bare: {ratio:.2f}")


def bare(text: Path, case: tuple[Any, ...], steps: int) -> float:
    """Characters a second of the bare loop, in a process of its own."""
    cell, hidden, layers, precision = case
    size = hidden * 10 + layers
    arguments = [str(value) for value in (text, cell, size, steps, THREADS, SKIP, precision)]
    done = subprocess.run([sys.executable, str(BARE), *arguments], check=True, capture_output=True, text=True)
    return float(done.stdout)


def fit_in_process(text: Path, case: tuple[Any, ...], steps: int) -> float:
    """Characters a second of `fit_alone`, in a process of its own."""
    asked = json.dumps(spec(case, steps))
    command = [sys.executable, __file__, str(text), "--fit-alone", asked]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def fit_alone(text: Path, asked: dict[str, Any]) -> float:
    """Characters a second of rnncore.fit, without any service."""
    torch.set_num_threads(THREADS)
    job = JobSpec(dataset=f"ds-{0:032}", **asked)
    scan = TextScan("characters")
    scan.feed(text.read_bytes())
    summary = scan.summary()
    observer = Silent()
    fit(Job("job", 1, job), load(job, make_plan(job, summary, None, None), summary, text), observer)
    return rate_between(observer.points)


def through_service(service: Service, dataset: str, case: tuple[Any, ...], steps: int) -> float:
    """Characters a second of a job, by the times at which its reports were stored."""
    answer = service.api.post("/v1/jobs", json={"dataset": dataset, **spec(case, steps)}).raise_for_status()
    record = service.ended(answer.json()["id"], 600)
    assert record["state"] == "succeeded", record["error"]
    reports = [
        (event["created_at"], event["data"]["step"], event["data"]["validation_loss"] is not None)
        for event in service.events(record["id"])
        if event["type"] == "metrics"
    ]
    return rate_between(reports)


def rate_between(reports: list[tuple[float, int, bool]]) -> float:
    """From the first report after SKIP steps to the last before the validation at the end."""
    counted = [(at, step) for at, step, validated in reports if step >= SKIP and not validated]
    (began_at, first), (ended_at, last) = counted[0], counted[-1]
    return (last - first) * BATCH * WINDOW / (ended_at - began_at)


def spec(case: tuple[Any, ...], steps: int) -> dict[str, Any]:
    """The job that does what bare_loop.py does; validation and checkpoint come after the last step."""
    cell, hidden, layers, precision = case
    model = {"cell": cell, "hidden_size": hidden, "num_layers": layers, "embedding_size": EMBEDDING, "dropout": 0}
    train = {"batch_size": BATCH, "tbptt_steps": WINDOW, "max_steps": steps, "precision": precision}
    return {"model": model, "train": train | {"validate_every_steps": steps, "checkpoint_every_steps": steps}}


def steps_for(text: Path, case: tuple[Any, ...], seconds: float) -> int:
    """So many steps that the bare loop takes about `seconds`."""
    a_few = SKIP + 20
    return SKIP + max(60, int(seconds * bare(text, case, a_few) / (BATCH * WINDOW)))


def operations(cell: str, hidden: int, layers: int) -> int:
    """Of the recurrent layers, forwards and backwards, a character."""
    inputs = [EMBEDDING, *[hidden] * (layers - 1)]
    return sum(6 * GATES[cell] * hidden * (size + hidden) for size in inputs)


def matrix_peak(kind: torch.dtype) -> float:
    """Operations a second of the fastest of five products of 2,048 x 2,048."""
    a, b = (torch.randn(2048, 2048).to(kind) for _ in range(2))
    fastest = float("inf")
    for _ in range(5):
        began_at = time.perf_counter()
        a @ b
        fastest = min(fastest, time.perf_counter() - began_at)
    return 2 * 2048**3 / fastest


if __name__ == "__main__":
    main()
