"""What is told of the seats: who sits where, and how much of the last minutes each was used. Knows no queue, no Ray."""

import math
import time
from collections.abc import Callable, Iterable, Mapping

from services.jobqueue.floor import Occupant, Worker
from workers.places import WHOLE, Seat

_MEMORY_SECONDS = 300.0


class Pulse:
    """Looks at the seats now and then, and remembers how busy each was: a mean that forgets within minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = clock()
        self._used: dict[str, float] = {}

    def tell(self, seats: Iterable[Seat], jobs_of_guests: Mapping[str, str]) -> list[Worker]:
        """The seats as the outside sees them. `jobs_of_guests`: the job of each process that was made for one."""
        present = self._clock()
        keeps = math.exp((self._looked_at - present) / _MEMORY_SECONDS)
        self._looked_at = present
        told = []
        for seat in seats:
            sitting = _occupants(seat, jobs_of_guests)
            used = min(1.0, sum(one.share for one in sitting))
            self._used[seat.name] = used + (self._used.get(seat.name, used) - used) * keeps
            told.append(_worker(seat, sitting, round(self._used[seat.name], 2)))
        self._used = {worker.id: self._used[worker.id] for worker in told}
        return told


def _occupants(seat: Seat, jobs_of_guests: Mapping[str, str]) -> list[Occupant]:
    held = [claim.job for claim in seat.work.claims] if seat.work else [seat.inherited] if seat.inherited else []
    guests = [
        Occupant(job=jobs_of_guests[name], share=quarters / WHOLE)
        for name, quarters in sorted(seat.guests.items())
        if name in jobs_of_guests
    ]
    return [Occupant(job=job, share=1 / len(held)) for job in held] + guests


def _worker(seat: Seat, sitting: list[Occupant], utilisation: float) -> Worker:
    return Worker(
        id=seat.name,
        node=seat.node_id,
        host=seat.host,
        kind=seat.kind,
        threads=seat.threads,
        memory_bytes=seat.memory,
        state="busy" if sitting else "idle" if seat.is_warm else "starting",
        is_drained=seat.is_drained,
        jobs=sitting,
        num_jobs=len(sitting),
        utilisation=utilisation,
    )
