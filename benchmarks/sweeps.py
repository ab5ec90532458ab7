"""A search with successive halving against the same search without, and what a dispatcher killed in the middle costs.

    python benchmarks/sweeps.py [--trials 24] [--steps 810] [--text FILE]

Both sweeps try the same points (random search, one seed) on two trainers of one thread each, so that a point trains
alike in both. Time to the best loss: from the request until the sweep's best trial has the loss that both reach in the
end. The best at equal worker time is read off the course of the sweep without halving. A third sweep loses its
dispatcher twice (kill -9).
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.tinyshakespeare import TEXT
from services.jobqueue.audit import audit
from services.jobqueue.scripts import RedisScripts
from services.settings import embedded_socket, private_value
from tests.running_service import Service, running, wait_for

SYMBOLS = 200_000
ENDED = ("succeeded", "failed", "cancelled")
PARAMETERS = {
    "train.learning_rate": {"min": 1e-4, "max": 3e-1, "log": True},
    "model.cell": {"values": ["rnn", "lstm", "gru"]},
    "model.hidden_size": {"values": [32, 64, 128]},
    "model.dropout": {"min": 0.0, "max": 0.5},
}


class Look(NamedTuple):
    """The sweep at one moment."""

    seconds: float
    worker_seconds: float
    best: float | None


def main() -> None:
    """Prints the comparison; exits 1 if halving is slower to the best loss, or a trial is not accounted for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--steps", type=int, default=810)
    parser.add_argument("--text", type=Path, default=TEXT)
    options = parser.parse_args()
    with running(UNROLL_TRAINERS="2", OMP_NUM_THREADS="1") as service:
        dataset = service.upload(options.text.read_text()[:SYMBOLS])
        rung = options.steps // 27
        asked = search(dataset, options.trials, options.steps, rung)
        halved = course(service, asked | {"early_stopping": {"min_steps": rung, "factor": 3}})
        plain = course(service, asked)
        goal = max(halved[-1].best or 9.0, plain[-1].best or 9.0)
        first = [next(look for look in looks if look.best and look.best <= goal) for looks in (halved, plain)]
        for name, looks, at in zip(
            ("successive halving", "every trial to its end"), (halved, plain), first, strict=True
        ):
            print(f"{name:<24} {told(looks[-1])}; {goal:.4f} first after {at.seconds:.1f} s")
        at_equal = [look for look in plain if look.worker_seconds <= halved[-1].worker_seconds][-1]
        print(f"{'the latter by then':<24} {told(at_equal)}")
        print(f"{'time to the best loss':<24} {first[0].seconds / first[1].seconds:.2f} of that without halving")
        is_whole = survives(service, search(dataset, options.trials, rung, rung))
    sys.exit(0 if first[0].seconds < first[1].seconds and is_whole else 1)


def told(look: Look) -> str:
    return f"best {look.best or 9:.4f} nats after {look.seconds:.1f} s, {look.worker_seconds:.1f} s of workers"


def search(dataset: str, trials: int, steps: int, every: int) -> dict[str, Any]:
    train = {"max_steps": steps, "validate_every_steps": every, "checkpoint_every_steps": steps, "warmup_steps": 20}
    return {
        "spec": {"dataset": dataset, "model": {"embedding_size": 32}, "train": train},
        "parameters": PARAMETERS,
        "search": {"method": "random", "seed": 1},
        "budget": {"max_trials": trials},
    }


def course(service: Service, asked: dict[str, Any]) -> list[Look]:
    """The sweep, several times a second until it has ended."""
    began, looks = time.monotonic(), []
    sweep = create(service, asked)
    while True:
        found = show(service, sweep)
        best = found["best"]["value"] if found["best"] else None
        looks.append(Look(time.monotonic() - began, found["worker_seconds"], best))
        if found["state"] != "running":
            print(f"{sweep}: {found['trials']}, {found['num_stopped_early']} stopped early")
            print(f"  best {found['best']['parameters']}")
            return looks
        time.sleep(0.2)


def survives(service: Service, asked: dict[str, Any]) -> bool:
    """Whether every trial is there once, with a job of its own and no other, after two deaths of the dispatcher."""
    total = asked["budget"]["max_trials"]
    sweep = create(service, asked)
    for share in (4, 2):
        wait_for(lambda n=total // share: num_ended(service, sweep) >= n, 600, lambda: "trials to end")
        (dispatcher,) = [process for process in service.family() if "workers.dispatcher" in process.cmdline()]
        dispatcher.kill()
        dispatcher.wait(10)
        wait_for(lambda: any("workers.dispatcher" in p.cmdline() for p in service.family()), 60, lambda: "the next one")
    found = wait_for(lambda: (now := show(service, sweep))["state"] != "running" and now, 600, lambda: "its end")
    trials = service.api.get(f"/v1/sweeps/{sweep}/trials", params={"limit": 1000}).json()["data"]
    jobs = service.api.get("/v1/jobs", params={"limit": 1000}).json()["data"]
    of_sweep = Counter(job["id"] for job in jobs if job["trial"] and job["trial"]["sweep"] == sweep)
    secret = private_value(service.home / "secret").encode()
    faults = audit(RedisScripts(f"unix://{embedded_socket(service.home)}", secret))
    is_whole = (
        [trial["number"] for trial in trials] == list(range(total))
        and of_sweep == Counter(trial["job"] for trial in trials)
        and found["trials"] == {"succeeded": total}
        and not faults
    )
    print(
        f"dispatcher killed twice {found['num_trials']} of {total} trials, {len(of_sweep)} jobs, {found['trials']}; "
        f"the audit finds {faults or 'nothing'}"
    )
    return is_whole


def create(service: Service, asked: dict[str, Any]) -> str:
    answer = service.api.post("/v1/sweeps", json=asked)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def show(service: Service, sweep: str) -> dict[str, Any]:
    shown: dict[str, Any] = service.api.get(f"/v1/sweeps/{sweep}").raise_for_status().json()
    return shown


def num_ended(service: Service, sweep: str) -> int:
    return sum(count for state, count in show(service, sweep)["trials"].items() if state in ENDED)


if __name__ == "__main__":
    main()
