"""The promise of exact resume at its widest: trainers killed at random moments, every task, the same parameters."""

import os
import random
import signal
from typing import Any

import numpy as np
import pytest

from tests.running_service import Service, wait_for
from tests.workers.test_tasks_served import WORDS, lines, upload

pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.timeout(3600)]

POINTS = 50
SEED = 20261124
TRAIN = {"batch_size": 4, "max_steps": 400, "precision": "fp32", "validate_every_steps": 150}


def specs(service: Service, text: str) -> dict[str, dict[str, Any]]:
    """One job of every task; dropout on, so that random numbers count too."""
    random_numbers = np.random.default_rng(1)
    series = "\n".join(f"{a:.4f},{b:.4f}" for a, b in random_numbers.uniform(size=(400, 2)))
    named = {
        "classify": ("labelled", lines(*({"text": word, "label": word[-1]} for word in WORDS * 9)), {}),
        "tag": ("tagged", lines(*({"inputs": list(word), "tags": list(word[::-1])} for word in WORDS * 9)), {}),
        "translate": ("pairs", lines(*({"source": word, "target": word[::-1]} for word in WORDS * 9)), {}),
        "generate": ("labelled", lines(*({"text": word, "label": word[0]} for word in WORDS * 9)), {}),
        "forecast": ("series", f"a,b\n{series}\n".encode(), {"target": "b"}),
    }
    found = {
        task: {"task": task, "dataset": upload(service, kind, content, **params)}
        for task, (kind, content, params) in named.items()
    }
    found["language_model"] = {"task": "language_model", "dataset": service.upload(text)}
    model = {"hidden_size": 24, "embedding_size": 12, "num_layers": 2, "dropout": 0.3}
    cells = ("rnn", "lstm", "gru")
    return {
        task: {**spec, "model": model | {"cell": cells[number % 3]}, "train": TRAIN}
        for number, (task, spec) in enumerate(found.items())
    }


def test_fifty_of_fifty_jobs_end_with_the_same_parameters_wherever_their_trainer_was_killed(
    service: Service, text: str
) -> None:
    draw = random.Random(SEED)
    asked = specs(service, text)
    undisturbed = {}
    for task, spec in asked.items():
        record = service.ended(submitted(service, spec, draw), 120)
        assert record["state"] == "succeeded", record["error"]
        undisturbed[task] = record["parameters_sha256"]
    equal = 0
    for number in range(POINTS):
        task = list(asked)[number % len(asked)]
        record = killed_once(service, asked[task], draw)
        equal += record["parameters_sha256"] == undisturbed[task]
        print(f"{number + 1:>2} of {POINTS}  {task:<15} attempts {record['epoch']}  {record['parameters_sha256'][:12]}")
    assert equal == POINTS


def killed_once(service: Service, spec: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """The record of a job whose trainer was killed while it ran; asked for again where it ended before the kill."""
    while True:
        job = submitted(service, spec, draw)
        step = draw.randrange(TRAIN["max_steps"])
        running = reached(service, job, step)
        if running["state"] == "running":
            os.kill(running["placement"]["pid"], signal.SIGKILL)
        record = service.ended(job, 120)
        assert record["state"] == "succeeded", record["error"]
        if record["epoch"] > 1:
            return record


def reached(service: Service, job: str, step: int) -> dict[str, Any]:
    """The record once the job runs and has come so far, or has ended."""

    def look() -> dict[str, Any] | None:
        record = service.job(job)
        is_there = record["state"] == "running" and record["placement"] and record["progress"]["step"] >= step
        return record if is_there or record["state"] == "succeeded" else None

    found: dict[str, Any] = wait_for(look, 120, lambda: f"{job} to reach step {step}")
    return found


def submitted(service: Service, spec: dict[str, Any], draw: random.Random) -> str:
    """How often checkpoints are made changes no parameter, and differs from job to job."""
    train = spec["train"] | {"checkpoint_every_steps": draw.choice((3, 17, 60, 250))}
    answer = service.api.post("/v1/jobs", json={**spec, "train": train})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])
