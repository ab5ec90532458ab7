"""How long a submitted job waits for its first optimizer step, beside `ray job submit` of the same training.

    python benchmarks/time_to_first_step.py [--jobs 20] [--peer-jobs 3]

Ours: POST /v1/jobs to the first metrics event, as a client sees it. The peer's script imports what ours has imported
already and runs the same `rnncore.fit`; its clock runs from `ray job submit` to the line it prints at its first step.
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

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))
from services.processes import Child, free_port
from tests.running_service import TINY, Service, running

TARGET_SECONDS = 0.5
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 400
PEER = """
import sys, time
from pathlib import Path
from rnncore.corpus import TextPlan, TextScan
from rnncore.fit import Job, fit
from rnncore.spec import JobSpec
from rnncore.text import load_text

class Observer:
    def wants_suspension(self) -> bool:
        return False

    def before_step(self): pass
    def after_point(self, point):
        if point.step == 1:
            print("FIRST STEP", time.time(), flush=True)
    def after_checkpoint(self, snapshot, samples, *, is_best): pass
    def warn(self, text): pass

path = Path(sys.argv[1])
spec = JobSpec.model_validate_json(sys.argv[2])
scan = TextScan("characters")
scan.feed(path.read_bytes())
fit(Job("peer", 1, spec), load_text(path, TextPlan.of(spec, scan.summary())), Observer())
"""


def main() -> None:
    """Prints both medians and their ratio; exits 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--peer-jobs", type=int, default=3)
    options = parser.parse_args()
    with running() as service:
        dataset = service.upload(TEXT)
        ours = [_ours(service, dataset, seed) for seed in range(options.jobs)]
    peer = _peer(options.peer_jobs)
    print(f"unroll           median {statistics.median(ours):.3f} s of {len(ours)}  ({min(ours):.3f}-{max(ours):.3f})")
    print(f"ray job submit   median {statistics.median(peer):.3f} s of {len(peer)}  ({min(peer):.3f}-{max(peer):.3f})")
    print(f"ratio            {statistics.median(ours) / statistics.median(peer):.4f}")
    sys.exit(0 if statistics.median(ours) <= TARGET_SECONDS else 1)


def _ours(service: Service, dataset: str, seed: int) -> float:
    began_at = time.monotonic()
    job = service.submit(dataset, train={"seed": seed})["id"]
    headers = {"accept": "text/event-stream"}
    with service.api.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as events:
        for line in events.iter_lines():
            if line == "event: metrics":
                seconds = time.monotonic() - began_at
                break
        else:
            raise RuntimeError(f"{job} ended without a step")
    service.ended(job)
    return seconds


def _peer(num_jobs: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        home = Path(folder)
        (home / "peer.py").write_text(PEER)
        (home / "text").write_text(TEXT)
        spec = json.dumps({"dataset": "ds-" + "0" * 32, **TINY})
        port, dashboard = free_port("127.0.0.1"), free_port("127.0.0.1")
        environment = dict(os.environ) | {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
        environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
        ray = [sys.executable, "-m", "ray.scripts.scripts"]
        start = [*ray, "start", "--head", "--block", "--port", str(port), "--include-dashboard", "true"]
        start += ["--dashboard-port", str(dashboard), "--temp-dir", str(home / "r"), "--disable-usage-stats"]
        cluster = Child("ray", start, environment, home / "ray.log")
        cluster.start()
        try:
            submit = [*ray, "job", "submit", "--address", f"http://127.0.0.1:{dashboard}", "--"]
            submit += [sys.executable, str(home / "peer.py"), str(home / "text"), spec]
            _wait_for_dashboard(dashboard)
            return [_submitted(submit, environment) for _ in range(num_jobs)]
        finally:
            cluster.stop()


def _submitted(command: list[str], environment: dict[str, str]) -> float:
    began_at = time.time()
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    line = next(line for line in printed.splitlines() if "FIRST STEP" in line)
    return float(line.split()[-1]) - began_at


def _wait_for_dashboard(port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/api/version").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError("Ray's dashboard did not start")


if __name__ == "__main__":
    main()
