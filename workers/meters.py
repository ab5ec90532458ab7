"""What the dispatcher counts of itself and of its places. Knows no Ray and no queue."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from services.jobqueue.records import Seats
from services.metrics import dispatcher as declared
from services.metrics.registry import counter, gauge, histogram, process_registry
from workers.places import Seat

_STATES = ("idle", "busy", "starting", "drained")


class Meters:
    """The registry of a dispatcher, and what it is told."""

    def __init__(self) -> None:
        self.registry = process_registry()
        self._trainers = gauge(declared.TRAINERS, self.registry)
        self._nodes = gauge(declared.NODES, self.registry)
        self._claims = counter(declared.CLAIMS, self.registry)
        self._guests = gauge(declared.GUESTS, self.registry)
        self._gang_workers = gauge(declared.GANG_WORKERS, self.registry)
        self._deaths = counter(declared.TRAINER_DEATHS, self.registry)
        self._wanted = gauge(declared.WORKERS_WANTED, self.registry)
        self._round = histogram(declared.ROUND_DURATION, self.registry)
        self._last_round = gauge(declared.LAST_ROUND, self.registry)
        self._faults = counter(declared.DISPATCHER_FAULTS, self.registry)
        self._garbage = counter(declared.GARBAGE, self.registry)
        for state in _STATES:
            self._trainers.labels(state)
        for source in ("queue", "ray", "storage"):
            self._faults.labels(source)
        for start in ("warm", "cold"):
            self._claims.labels(start)
        self.wanted(Seats(0, 0))

    def places(self, seats: Sequence[Seat], gangs: Iterable[int], num_sharing: int) -> None:
        """How the places stand: `gangs` by their numbers of workers, and how many processes share a GPU."""
        states = Counter(_state(seat) for seat in seats)
        for state in _STATES:
            self._trainers.labels(state).set(states[state])
        self._nodes.set(len({seat.node_id for seat in seats}))
        gangs = list(gangs)
        self._guests.labels("gang").set(len(gangs))
        self._guests.labels("share").set(num_sharing)
        self._gang_workers.set(sum(gangs))

    def placed(self, start: Literal["warm", "cold"]) -> None:
        """A job was given to a trainer."""
        self._claims.labels(start).inc()

    def died(self) -> None:
        self._deaths.inc()

    def wanted(self, seats: Seats) -> None:
        """What the autoscaler was asked for."""
        self._wanted.labels("cpu").set(seats.cpu)
        self._wanted.labels("gpu").set(seats.gpu)

    def fault(self, source: Literal["queue", "ray", "storage"]) -> None:
        self._faults.labels(source).inc()

    def garbage(self, num_bytes: int) -> None:
        self._garbage.inc(num_bytes)

    @contextmanager
    def round(self) -> Iterator[None]:
        """Times a round that ends well."""
        began_at = time.perf_counter()
        yield
        self._round.observe(time.perf_counter() - began_at)
        self._last_round.set_to_current_time()


def _state(seat: Seat) -> str:
    if seat.is_drained:
        return "drained"
    if seat.work is not None or seat.guests:
        return "busy"
    return "idle" if seat.is_warm else "starting"
