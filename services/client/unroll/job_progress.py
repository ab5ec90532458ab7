"""The newest of everything that a job's events told. Knows no view and no server."""

import math
from dataclasses import dataclass, field
from typing import Any

from unroll.types import Event, JobRecord, QueuePlace

_FIELDS = (
    "epoch",
    "step",
    "characters",
    "train_loss",
    "learning_rate",
    "gradient_norm",
    "characters_per_second",
    "training_seconds",
    "ratio",
    "eta_seconds",
)
_SCORES = ("validation_loss", "bits_per_character")


@dataclass
class JobProgress:
    """A job as far as its events have told; losses in nats per symbol. Starts from the record's spec alone."""

    record: JobRecord
    state: str = ""
    reason: str | None = None
    queue: QueuePlace | None = None
    attempt: int = 0
    latest: dict[str, Any] = field(default_factory=dict)
    texts: list[tuple[str, str]] = field(default_factory=list)
    text_step: int | None = None
    training: list[tuple[float, float]] = field(default_factory=list)
    validation: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.record.state
        self.attempt = self.record.attempt
        self.place(self.record)

    @property
    def max_steps(self) -> int | None:
        limit = self.record.spec.train.get("max_steps")
        return limit if isinstance(limit, int) else None

    @property
    def ratio(self) -> float:
        return float(self.latest.get("ratio") or 0.0)

    def place(self, record: JobRecord) -> None:
        """Take from `record` why the job waits and where it stands in the queue."""
        if record.queue is not None:
            self.reason, self.queue = record.queue.reason, record.queue

    def apply(self, event: Event) -> None:
        """Take in one event. A message, or one of an unknown type, changes nothing."""
        if event.type == "state":
            self._apply_state(event.data)
        elif event.type == "metrics":
            self._apply_metrics(event.data)
        elif event.type == "checkpoint":
            self._apply_checkpoint(event.data)

    def _apply_state(self, data: dict[str, Any]) -> None:
        self.state = str(data.get("state") or self.state)
        self.reason, self.queue = data.get("reason"), None
        self.attempt = data.get("attempt") or self.attempt

    def _apply_metrics(self, data: dict[str, Any]) -> None:
        self.latest.update({name: data.get(name) for name in _FIELDS})
        scores = {name: data[name] for name in _SCORES if data.get(name) is not None}
        self.latest.update(scores)
        step = data.get("step")
        for curve, name in ((self.training, "train_loss"), (self.validation, "validation_loss")):
            if step is not None and data.get(name) is not None:
                _put(curve, float(step), float(data[name]))

    def _apply_checkpoint(self, data: dict[str, Any]) -> None:
        samples = [sample for sample in data.get("samples") or [] if isinstance(sample, dict)]
        if samples:
            self.texts = [(str(sample.get("prompt") or ""), str(sample.get("text") or "")) for sample in samples]
            self.text_step = data.get("step")


def _put(curve: list[tuple[float, float]], step: float, loss: float) -> None:
    """A run that began again at a checkpoint supersedes what its predecessor did beyond it."""
    while curve and curve[-1][0] >= step:
        curve.pop()
    if math.isfinite(loss):
        curve.append((step, loss))
