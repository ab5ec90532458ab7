"""The warm trainers: one at each seat of every node, ready for the next job. Knows what each is at, and no queue but to
give back the job of one that died.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from services.jobqueue import claims
from services.jobqueue.records import Claim, Seats
from services.jobqueue.scripts import RedisScripts
from workers.meters import Meters
from workers.places import Seat, Work, free_seats
from workers.trainer_actor import TrainerActor

log = logging.getLogger(__name__)

_JOBS_PER_TRAINER = 100
# A cancel ends a job between two steps, as a suspension does.
_CLEAN_ENDS = {"succeeded", "suspended", "cancelled", "released"}


class Pool:
    """Keeps the seats filled, gives their trainers work, and sees how that ends.

    `trainers`: seats of a node without a GPU. `environment` is what each trainer gets of ours.
    """

    def __init__(self, scripts: RedisScripts, meters: Meters, environment: Mapping[str, str], trainers: int) -> None:
        self._scripts = scripts
        self._meters = meters
        self._environment = dict(environment)
        self._trainers = trainers
        self.seats: dict[str, Seat] = {}

    def free(self) -> Seats:
        """What a claim may hand out."""
        return free_seats(self.seats.values())

    def can_fuse(self) -> bool:
        """Whether all free trainers can train several trials together: which of them gets a claim is not known yet."""
        return all(seat.can_fuse for seat in self.seats.values() if seat.is_free and not seat.has_gpu)

    def seat_nodes(self) -> None:
        """Has a seat for each trainer that the living nodes have room for, and none on a node that left."""
        nodes = {node["NodeID"]: node for node in cast(Any, ray).nodes() if node["Alive"]}
        for node_id, node in nodes.items():
            resources, host = node["Resources"], node["NodeManagerHostname"]
            gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
            count = gpus or (self._trainers if cpus else 0)
            for number in range(count):
                name = f"trainer-{node_id[-12:]}-{number}"
                if name not in self.seats:
                    threads = max(1, cpus // count)
                    memory = int(resources.get("memory", 0)) // count
                    self.seats[name] = Seat(name, node_id, host, threads=threads, has_gpu=gpus > 0, memory=memory)
        for name in [name for name, seat in self.seats.items() if seat.node_id not in nodes]:
            self._lost(self.seats.pop(name), "its node left the cluster")

    def look_after(self, drained: Collection[str]) -> None:
        """Fills seats, welcomes trainers that are warm, and sees which came to an end; `drained` are ids of nodes."""
        for seat in self.seats.values():
            seat.is_drained = seat.node_id in drained
            if seat.wants_trainer:
                self._fill(seat)
            if seat.ready is not None and ray.wait([seat.ready], timeout=0)[0]:
                self._welcome(seat)
            if seat.work is not None and ray.wait([seat.work.future], timeout=0)[0]:
                self._finished(seat)

    def give(self, seat: Seat, claimed: Sequence[Claim]) -> None:
        """Has the warm trainer of this free seat run a job, or several trials together."""
        actor = seat.actor
        if len(claimed) > 1:
            future = actor.run_fused.remote([tuple(one) for one in claimed], "warm")
        else:
            future = actor.run.remote(tuple(claimed[0]), "warm")
        seat.work = Work(tuple(claimed), future)

    def retire(self, seat: Seat) -> None:
        """A fresh process for the next job: nothing of a failed one is left behind."""
        ray.kill(seat.actor)
        seat.actor, seat.ready, seat.is_warm = None, None, False

    def pending(self) -> list[Any]:
        """Futures that bring news: jobs that end, and trainers that will be warm."""
        working = [seat.work.future for seat in self.seats.values() if seat.work is not None]
        return working + [seat.ready for seat in self.seats.values() if seat.ready is not None and not seat.work]

    def _fill(self, seat: Seat) -> None:
        """Adopts the actor an earlier dispatcher left at this seat, or starts one."""
        seat.actor = TrainerActor.options(
            name=seat.name,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            num_gpus=1 if seat.has_gpu else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(seat.node_id, soft=False),
        ).remote(self._environment, seat.threads)
        seat.ready, seat.is_warm, seat.jobs_run = seat.actor.ping.remote(), False, 0

    def _welcome(self, seat: Seat) -> None:
        try:
            state = ray.get(seat.ready)
        except RayActorError as error:
            self._lost(seat, str(error))
            return
        if not state["jobs"]:
            seat.ready, seat.is_warm, seat.inherited, seat.can_fuse = None, True, [], state["can_fuse"]
            log.info("%s is warm, pid %s", seat.name, state["pid"])
        else:  # still at a job that an earlier dispatcher gave it, whose lease it holds itself
            seat.ready, seat.inherited = seat.actor.ping.remote(), state["jobs"]

    def _finished(self, seat: Seat) -> None:
        assert seat.work is not None
        claimed, future = seat.work
        try:
            ends = ray.get(future)
        except RayActorError as error:
            self._lost(seat, str(error))
            return
        except RayError as error:
            log.error("%s on %s: %s", claimed[0].job, seat.name, error)
            ends = ["broken"] * len(claimed)
            for claim in claimed:
                claims.lose(self._scripts, claim)
        ends = ends if isinstance(ends, list) else [ends]
        for claim, end in zip(claimed, ends, strict=True):
            log.info("%s on %s: %s", claim.job, seat.name, end)
        seat.work = None
        seat.jobs_run += len(claimed)
        if not set(ends) <= _CLEAN_ENDS or seat.jobs_run >= _JOBS_PER_TRAINER:
            self.retire(seat)

    def _lost(self, seat: Seat, why: str) -> None:
        log.warning("%s died: %s", seat.name, why.splitlines()[0])
        self._meters.died()
        for claim in seat.work.claims if seat.work else ():
            claims.lose(self._scripts, claim)
        seat.actor, seat.ready, seat.work, seat.is_warm, seat.inherited = None, None, None, False, []
