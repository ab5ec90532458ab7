"""Runs jobs on the server and reads their scores, weights and gradients. Knows no experiment.

A job is queued under a key made of what it asks for: asked again, after Ctrl-C or on another day, the server answers
with the job that already ran.
"""

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from safetensors.numpy import load

from unroll.client import Client
from unroll.errors import JobFailedError
from unroll.lecture.results import Cell, LagGradient
from unroll.outcomes import succeeded
from unroll.types import JobRecord

Key = TypeVar("Key", bound=Hashable)
# Smaller norms are nothing to a float32 sum, and have no logarithm to draw.
_SMALLEST = 1e-30
_DIVERGED = "non_finite_loss"


class Laboratory:
    """What the experiments ask the server for; `say` gets a line for each job that has ended."""

    def __init__(self, client: Client, say: Callable[[str], None]) -> None:
        self.client = client
        self._say = say
        self._spans: dict[str, float] = {}

    @property
    def num_jobs(self) -> int:
        """Jobs that were asked for so far, those that had run before included."""
        return len(self._spans)

    @property
    def seconds(self) -> float:
        """From start to end of each of them, in all."""
        return sum(self._spans.values())

    def run(self, title: str, specs: Mapping[Key, Mapping[str, Any]]) -> dict[Key, JobRecord | None]:
        """Every job's record once it succeeded; None where it diverged. Raises JobFailedError for other failures."""
        jobs = {key: self._queued(spec) for key, spec in specs.items()}
        found: dict[Key, JobRecord | None] = {}
        for number, (key, job) in enumerate(jobs.items(), 1):
            found[key] = record = self._ended(job)
            if record is not None and record.started_at and record.finished_at:
                self._spans[record.id] = record.finished_at - record.started_at
            self._say(f"{title}  {number} of {len(jobs)}  {job.spec.name}")
        return found

    def history(self, record: JobRecord, score: str) -> tuple[list[int], list[float]]:
        """Steps at which it was validated, and the score there."""
        rows = [row for row in self.client.jobs.metrics(record.id) if row.validation_loss is not None]
        return [row.step for row in rows], [row.metrics.get(score, row.validation_loss or 0.0) for row in rows]

    def training_seconds(self, record: JobRecord) -> float:
        """Seconds spent in training steps."""
        return max((row.training_seconds or 0.0 for row in self.client.jobs.metrics(record.id)), default=0.0)

    def weights(self, model: str) -> dict[str, np.ndarray]:
        """The tensors that the server exports."""
        return dict(load(self.client.models.export(model, format="safetensors")))

    def gradients(
        self, label: str, cell: Cell, models: Sequence[str], inputs: Sequence[Any], lags: int
    ) -> list[LagGradient]:
        """Gradient of the answer against lag, in the last layer: of the hidden state, and of an LSTM's cell."""
        logs: dict[Literal["hidden", "cell"], list[np.ndarray]] = {"hidden": [], "cell": []}
        for model in models:
            for given in inputs:
                seen = self.client.models.inspect(model, given, lags=lags, num_units=0, top=0)
                layer = (seen.gradient or {})["layers"][-1]
                for state, norms in logs.items():
                    if layer[state] is not None:
                        norms.append(np.log(np.maximum(layer[state], _SMALLEST)))
        return [
            LagGradient(label=label, cell=cell, state=state, norms=np.exp(np.mean(norms, axis=0)).tolist())
            for state, norms in logs.items()
            if norms
        ]

    def _queued(self, spec: Mapping[str, Any]) -> JobRecord:
        body = {"metadata": {"made_by": "unroll lecture"}, **spec}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
        again = 0
        while (job := self._submit(body, f"lecture-{digest}-{again}")).state == "cancelled":
            again += 1
        return job

    def _submit(self, body: Mapping[str, Any], key: str) -> JobRecord:
        # What the key answers is the record of that time: what has become of it since is asked for.
        return self.client.jobs.get(self.client.jobs.submit(idempotency_key=key, **body).id)

    def _ended(self, job: JobRecord) -> JobRecord | None:
        try:
            return succeeded(job) if job.is_terminal else self.client.jobs.wait(job.id)
        except JobFailedError as error:
            if error.type == _DIVERGED:
                return None
            raise


def best_score(record: JobRecord | None, score: str) -> float | None:
    """The metric, or the loss where the task has no such metric, at the best validation."""
    if record is None or record.best is None:
        return None
    value = record.best.metrics.get(score, record.best.validation_loss)
    return value if value is not None and math.isfinite(value) else None
