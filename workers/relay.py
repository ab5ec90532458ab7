"""What a trainer adds to the service's totals: kept here until a report takes it along to Redis. Knows no Redis.

A report carries totals at most once a second, and whenever something is told that a resumed run goes on from: what is
behind a checkpoint was counted, once.
"""

import time
from collections import Counter

from rnncore.loop import Point
from services.jobqueue.histograms import observation
from services.metrics.queue import TRAIN_CHECKPOINT_DURATION, TRAIN_STEP_DURATION

RELAY_SECONDS = 1.0


class Relay:
    """Totals of one claim of a job with this recurrent cell."""

    def __init__(self, cell: str) -> None:
        self._cell = cell
        self._step = self._characters = 0
        self._seconds = 0.0
        self._totals: Counter[str] = Counter()
        self._taken_at = time.monotonic()

    def resumed(self, *, step: int, characters: int, seconds: float) -> None:
        """Counting goes on from here: what came before was counted by the claim that trained it."""
        self._step, self._characters, self._seconds = step, characters, seconds

    def trained(self, point: Point) -> None:
        """Training has come to `point`."""
        steps, characters = point.step - self._step, point.characters - self._characters
        seconds = point.training_seconds - self._seconds
        self.resumed(step=point.step, characters=point.characters, seconds=point.training_seconds)
        self._totals.update({f"steps:{self._cell}": steps, f"characters:{self._cell}": characters})
        if point.clipped_steps:
            self._totals[f"clipped:{self._cell}"] += point.clipped_steps
        if steps > 0:
            self._totals.update(observation(TRAIN_STEP_DURATION, seconds / steps, label=self._cell, times=steps))

    def published(self, seconds: float) -> None:
        """A checkpoint took so long."""
        self._totals.update(observation(TRAIN_CHECKPOINT_DURATION, seconds))

    def storage_failed(self, fault: str) -> None:
        """A try to read or write the storage failed and will be repeated."""
        self._totals[f"storage_faults:{fault}"] += 1

    @property
    def is_due(self) -> bool:
        """Whether the next report should take the totals along."""
        return time.monotonic() - self._taken_at >= RELAY_SECONDS

    def take(self) -> dict[str, int]:
        """What came since the last time. It has to be told, or is lost."""
        totals, self._totals = dict(self._totals), Counter()
        self._taken_at = time.monotonic()
        return totals
