"""What the service costs a job of two workers, beside a bare Ray Train `TorchTrainer` of the same training.

    python benchmarks/gang_overhead.py [--steps 400] [--rounds 3]

Ours: POST /v1/jobs to the record that says `succeeded`. The peer's script connects to a Ray that runs already, as ours
does, and its clock runs from its start to its end; it reports nothing and keeps no checkpoint. One thread a worker.
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
from services.processes import Child, free_port
from tests.running_service import Service, running

TARGET = 1.1
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 8000
PEER = """
import sys, time
began_at = time.time()
import ray, torch
from pathlib import Path
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

def train(config):
    from rnncore.corpus import TextPlan, TextScan
    from rnncore.fit import Job, fit
    from rnncore.ranks import Ranks
    from rnncore.spec import JobSpec
    from rnncore.text import load_text

    class Observer:
        first = None
        def before_step(self): pass
        def wants_suspension(self): return False
        def warn(self, text): pass
        def after_point(self, point): self.first = self.first or time.time()
        def after_checkpoint(self, snapshot, samples, *, is_best): pass

    torch.set_num_threads(1)
    path = Path(config["path"])
    spec = JobSpec.model_validate_json(config["spec"])
    scan = TextScan("characters")
    scan.feed(path.read_bytes())
    observer = Observer()
    data = load_text(path, TextPlan.of(spec, scan.summary()))
    fit(Job("peer", 1, spec), data, observer, ranks=Ranks.of_process_group())
    return [observer.first, time.time()]

ray.init(address=sys.argv[3], logging_level="ERROR", log_to_driver=False)
result = TorchTrainer(
    train,
    train_loop_config={"path": sys.argv[1], "spec": sys.argv[2]},
    scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(storage_path=sys.argv[4]),
).fit()
first, last = result.return_value
print("TOOK", first - began_at, last - first, time.time() - began_at, flush=True)
"""


def main() -> None:
    """Prints both medians and their ratio; exits 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spec = {
        "model": {"hidden_size": 256, "dropout": 0.0},
        "train": {"batch_size": 32, "tbptt_steps": 64, "max_steps": options.steps, "precision": "fp32"},
        "resources": {"num_workers": 2},
    }
    with running(UNROLL_TRAINERS="2") as service:
        dataset = service.upload(TEXT)
        ours = [_ours(service, dataset, spec, seed) for seed in range(options.rounds)]
    peer = _peer(spec, options.rounds)
    for number, what in enumerate(("to the first step", "first step to the last", "in all")):
        mine, theirs = (statistics.median(times[number] for times in each) for each in (ours, peer))
        print(f"{what:<24} unroll {mine:7.2f} s   TorchTrainer {theirs:7.2f} s   ratio {mine / theirs:.3f}")
    sys.exit(0 if mine / theirs <= TARGET else 1)


def _ours(service: Service, dataset: str, spec: dict[str, Any], seed: int) -> tuple[float, float, float]:
    began_at = time.time()
    train = spec["train"] | {"seed": seed}
    answer = service.api.post("/v1/jobs", json={**spec, "dataset": dataset, "train": train})
    record = service.ended(answer.raise_for_status().json()["id"], 300)
    assert record["state"] == "succeeded", record["error"]
    first = next(event["created_at"] for event in service.events(record["id"]) if event["type"] == "metrics")
    return first - began_at, record["finished_at"] - first, record["finished_at"] - began_at


def _peer(spec: dict[str, Any], rounds: int) -> list[tuple[float, ...]]:
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        home = Path(folder)
        (home / "peer.py").write_text(PEER)
        (home / "text").write_text(TEXT)
        address = f"127.0.0.1:{free_port('127.0.0.1')}"
        environment = dict(os.environ) | {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
        environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        start += ["--node-ip-address", "127.0.0.1", "--port", address.partition(":")[2]]
        start += ["--include-dashboard", "false", "--temp-dir", str(home / "r")]
        cluster = Child("ray", start, environment, home / "ray.log")
        cluster.start()
        try:
            while b"Ray runtime started" not in cluster.log_path.read_bytes():
                time.sleep(0.2)
            return [_run(home, spec, seed, address, environment) for seed in range(rounds)]
        finally:
            cluster.stop()


def _run(home: Path, spec: dict[str, Any], seed: int, address: str, environment: dict[str, str]) -> tuple[float, ...]:
    asked = json.dumps({**spec, "dataset": "ds-" + "0" * 32, "train": spec["train"] | {"seed": seed}})
    command = [sys.executable, str(home / "peer.py"), str(home / "text"), asked, address, str(home / "runs")]
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    line = next(line for line in ran.stdout.splitlines() if line.startswith("TOOK"))
    return tuple(map(float, line.split()[1:]))


if __name__ == "__main__":
    main()
