"""Processes made for one job: the driver of a gang, or a trainer with a share of a GPU. They end with their job.

Whoever starts one holds the lease of its job until the process is there; then the process does, whatever becomes of
the starter.
"""

import logging
from typing import Any, Self, cast

import ray
from ray.exceptions import RayActorError, RayError
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.records import Claim
from services.jobqueue.scripts import RedisScripts
from workers.gang import GangActor, Member
from workers.places import WHOLE, Place, Seat, Work
from workers.trainer_actor import TrainerActor

log = logging.getLogger(__name__)

_PREFIX = "guest-"
_ADOPT_SECONDS = 10.0


class Guest:
    """One such process on the seats it takes. Look after it until it is over, then let it go."""

    def __init__(self, name: str, actor: Any, seats: list[Seat], place: Place) -> None:
        self.name = name
        self.actor = actor
        self.seats = seats
        self.num_workers = len(seats)
        self.ready: Any = actor.ping.remote()
        self.work: Work | None = None
        self.is_over = False
        self._scripts: RedisScripts | None = None
        self._held: ClaimedJob | None = None
        for seat in seats:
            seat.guests[name] = place.quarters

    @classmethod
    def start(
        cls, claim: Claim, seats: list[Seat], scripts: RedisScripts, environment: dict[str, str], lease_seconds: float
    ) -> Self:
        """Makes the process that `claim` needs; the seats are free, or have the share it asks for."""
        name = f"{_PREFIX}{claim.job}-{claim.epoch}"
        place = Place(
            tuple(seat.name for seat in seats), WHOLE if claim.workers > 1 else claim.spec.resources.gpu_quarters
        )
        options: dict[str, Any] = {
            "name": name,
            "lifetime": "detached",
            "num_cpus": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(seats[0].node_id, soft=False),
        }
        if claim.workers > 1:
            members = [Member(seat.node_id, seat.threads) for seat in seats]
            actor = GangActor.options(**options).remote(environment, place, members)
        else:
            share = place.quarters / WHOLE
            actor = TrainerActor.options(**options, num_gpus=share).remote(environment, seats[0].threads, place)
        guest = cls(name, actor, seats, place)
        guest._scripts = scripts
        guest._held = ClaimedJob(scripts, claim, lease_seconds=lease_seconds)
        guest._held.__enter__()
        return guest

    @classmethod
    def adopt_all(cls, seats: dict[str, Seat]) -> list[Self]:
        """Those that an earlier dispatcher left; one that is at no job any more is ended."""
        found = []
        for name in cast(list[str], list_named_actors()):
            if name.startswith(_PREFIX):
                actor: Any = ray.get_actor(name)
                try:
                    place = ray.get(actor.ping.remote(), timeout=_ADOPT_SECONDS)["place"]
                except RayError as error:
                    log.warning("%s does not answer: %s", name, error)
                    ray.kill(actor)
                else:
                    found.append(cls(name, actor, [seats[seat] for seat in place.seats if seat in seats], place))
        return found

    @property
    def job(self) -> str:
        """The job that it was made for."""
        return self.name.removeprefix(_PREFIX).rpartition("-")[0]

    def look_after(self) -> None:
        """Gives the process its job once it is there, and sees when it is over. Never raises for a fault of the job."""
        try:
            if self._held is not None and (end := self._held.end_before_start()):
                self._end(end)
            elif self.ready is not None and _is_done(self.ready):
                self._welcome()
            elif self.work is not None and _is_done(self.work.future):
                self._end(ray.get(self.work.future))
        except RayActorError as error:
            self._lose(f"died: {str(error).splitlines()[0]}")
        except RayError as error:
            self._lose(str(error))

    def leave(self) -> None:
        """Ends the process and gives its seats back."""
        ray.kill(self.actor)
        for seat in self.seats:
            seat.guests.pop(self.name, None)

    def _welcome(self) -> None:
        state = ray.get(self.ready)
        self.ready = None
        if self._held is not None:
            claim = self._held.claim
            self._let_go()
            self.work = Work((claim,), self.actor.run.remote(tuple(claim), "cold"))
        elif not state["jobs"]:  # adopted, and over: or never given its job, whose lease ends then
            self._end("ended")
        else:
            self.ready = self.actor.ping.remote()

    def _end(self, how: str) -> None:
        log.info("%s: %s", self.name, how)
        self._let_go()
        self.is_over = True

    def _lose(self, why: str) -> None:
        log.warning("%s %s", self.name, why)
        claim = self.work.claims[0] if self.work else self._held.claim if self._held else None
        if claim is not None and self._scripts is not None:
            claims.lose(self._scripts, claim)
        self._let_go()
        self.is_over = True

    def _let_go(self) -> None:
        """Renews the lease no more: the process does, or nobody."""
        if self._held is not None:
            self._held.__exit__()
            self._held = None


def _is_done(future: Any) -> bool:
    return bool(ray.wait([future], timeout=0)[0])
