"""Places for workers: what sits where, and which of them a job gets. Knows no queue, and starts nothing."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from services.jobqueue.records import Claim, Seats

WHOLE = 4  # quarters of a GPU; a seat without one has no parts


class Place(NamedTuple):
    """What a process that was made for one job takes: so many quarters of each of the seats."""

    seats: tuple[str, ...]
    quarters: int = WHOLE


class Work(NamedTuple):
    """A job that an actor is at, or trials that it trains together; `future` is the end they come to."""

    claims: tuple[Claim, ...]
    future: Any


class Seat:
    """Room for one trainer on one node, a GPU or a part of its cores: the warm actor there, and what it is at.

    Processes that were made for one job sit here as `guests`, each with so many quarters.
    """

    def __init__(self, name: str, node_id: str, host: str, *, threads: int, has_gpu: bool, memory: int) -> None:
        self.name = name
        self.node_id = node_id
        self.host = host
        self.threads = threads
        self.has_gpu = has_gpu
        self.memory = memory
        self.actor: Any = None
        self.ready: Any = None
        self.work: Work | None = None
        self.jobs_run = 0
        self.is_warm = False
        self.can_fuse = False
        self.is_drained = False
        self.guests: dict[str, int] = {}

    @property
    def kind(self) -> Literal["cpu", "gpu"]:
        return "gpu" if self.has_gpu else "cpu"

    @property
    def is_free(self) -> bool:
        """Whether nobody has a part of it, and a warm trainer waits."""
        return self.is_warm and self.work is None and not self.guests and not self.is_drained

    @property
    def quarters_left(self) -> int:
        """What guests have left of a GPU that they share; 0 where none does, or nobody is to come."""
        return WHOLE - sum(self.guests.values()) if self.guests and not self.is_drained else 0

    @property
    def wants_trainer(self) -> bool:
        """Whether a warm trainer is to be started. One reserves the whole of a GPU, and nothing of other seats."""
        return self.actor is None and not (self.has_gpu and self.guests)


def free_seats(seats: Iterable[Seat]) -> Seats:
    """What a claim may hand out."""
    seats = list(seats)
    kinds = Counter(seat.kind for seat in seats if seat.is_free)
    return Seats(kinds["cpu"], kinds["gpu"], tuple(seat.quarters_left for seat in seats if seat.quarters_left))


def choose_seats(seats: Iterable[Seat], claim: Claim) -> list[Seat]:
    """Seats for a job: of a share the fullest GPU that has it left, else free ones, on as few nodes as may be."""
    seats, quarters = list(seats), claim.spec.resources.gpu_quarters
    shared = [seat for seat in seats if seat.quarters_left >= quarters]
    if claim.seat == "gpu" and shared:
        return [min(shared, key=lambda seat: seat.quarters_left)]
    free = [seat for seat in seats if seat.is_free and seat.kind == claim.seat]
    by_node = Counter(seat.node_id for seat in free)
    return sorted(free, key=lambda seat: (-by_node[seat.node_id], seat.node_id))[: claim.workers]
