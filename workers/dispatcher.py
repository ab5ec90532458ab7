"""Claims jobs and places them: on warm trainers, or on processes made for them (`guests`). Holds no truth: its death
harms nothing, its successor adopts the pool.

`python -m workers.dispatcher` needs REDIS_URL and RAY_ADDRESS (or a Ray cluster on this machine).
"""

import logging
import math
import os
import secrets
import signal
import threading
import time
from collections import Counter as Counted
from typing import Any, cast

import ray
from prometheus_client import start_http_server
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rnncore.errors import Conflict, Overloaded, Unavailable
from rnncore.fusable import MOST_FUSED
from services.garbage import collect
from services.jobqueue import claims
from services.jobqueue.drain import Drains
from services.jobqueue.floor import publish_workers
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, Claim, Seats
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.sweeps import Sweeps
from services.logs import configure_logs
from services.retention import trim
from services.settings import Settings
from services.storage import Storage
from services.sweeps.sweeper import Sweeper
from services.traces import configure_traces
from workers.guests import Guest
from workers.meters import Meters
from workers.places import WHOLE, Seat, Work, choose_seats, free_seats
from workers.pulse import Pulse
from workers.trainer import TrainerActor

log = logging.getLogger(__name__)

NAMESPACE = "unroll"
_POLL_SECONDS = 0.5
_RAY_FAULTS = 20
_JOBS_PER_TRAINER = 100
# A cancel ends a job between two steps, as a suspension does.
_CLEAN_ENDS = {"succeeded", "suspended", "cancelled", "released"}
_LOOK_SECONDS = 1.0
_TRIM_SECONDS = 3600.0
_PASSED_ON = ("UNROLL_", "REDIS_", "OTEL_", "AWS_", "FSSPEC_")


class Dispatcher:
    """Keeps the seats of every node filled with warm trainers, and the trainers busy while jobs wait."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.meters = Meters()
        self._scripts = RedisScripts(settings.redis_url or "", settings.secret)
        self._seats: dict[str, Seat] = {}
        self._guests: list[Guest] | None = None
        self._drains = Drains(self._scripts)
        self._token: str | None = None
        self._pulse = Pulse()
        self._queue = JobQueue(self._scripts)
        self._storage = Storage.of(settings)
        self._sweeps = Sweeps(self._scripts)
        self._sweeper = Sweeper(settings, self._queue, self._sweeps, self._storage)
        self._looked_at = self._trimmed_at = -math.inf
        self._keeping_house = threading.Lock()
        self._over = threading.Event()

    def run(self) -> None:
        """Works until `stop`. Raises RayError if Ray stays away."""
        self._sweeper.start()
        ray_faults = 0
        while not self._over.is_set():
            try:
                self.step()
                ray_faults = 0
            except (Unavailable, Overloaded) as error:
                log.warning("%s", error)
                self.meters.fault("queue")
                self._over.wait(_POLL_SECONDS)
            except RayError as error:
                log.warning("%s", error)
                self.meters.fault("ray")
                ray_faults += 1
                if ray_faults > _RAY_FAULTS:
                    raise  # a fresh process finds a fresh cluster
                self._over.wait(_POLL_SECONDS)

    def stop(self) -> None:
        self._over.set()
        self._sweeper.stop()

    def step(self) -> None:
        """One round: look after the pool, hand out a job for each idle trainer, wait a moment for news."""
        with self.meters.round():
            self._round()
        if any(self._free()):
            claims.wait_for_job(self._scripts, _POLL_SECONDS)
        else:
            self._wait_for_trainers()

    def _round(self) -> None:
        self._seat_nodes()
        self._look_after_guests()
        drained = self._drains.since()
        for seat in self._seats.values():
            seat.is_drained = seat.node_id in drained
            self._look_after(seat)
        while any(self._free()) and self._give_work():
            pass
        guests = self._guests or ()
        gangs = [guest.num_workers for guest in guests if guest.num_workers > 1]
        self.meters.places(list(self._seats.values()), gangs, len(guests) - len(gangs))
        self._look_around()

    def _free(self) -> Seats:
        return free_seats(self._seats.values())

    def _look_around(self) -> None:
        """What is not needed at every round: leases that ended, somebody who waits and should not, jobs of old."""
        present = time.monotonic()
        most = self._settings.max_workers
        if present - self._looked_at < _LOOK_SECONDS or not (self._seats or most):
            return
        self._looked_at = present
        kinds = Counted(seat.kind for seat in self._seats.values())
        memory = max((seat.memory for seat in self._seats.values()), default=0)
        self._drains.publish_nodes({seat.node_id: seat.host for seat in self._seats.values()})
        publish_workers(
            self._scripts, self._pulse.tell(self._seats.values(), {g.name: g.job for g in self._guests or ()})
        )
        claims.publish_capacity(self._scripts, Capacity(Seats(kinds["cpu"], kinds["gpu"]), memory, most))
        if most:
            self._ask_for_nodes(most)
        if not any(self._free()):
            claims.reap(self._scripts, lease_seconds=self._settings.lease_seconds)
        if job := claims.preempt(self._scripts, self._free()):
            log.info("%s asked to make place for a job of higher priority", job)
        if present - self._trimmed_at > _TRIM_SECONDS:
            self._trimmed_at = present
            threading.Thread(target=self._keep_house, daemon=True).start()

    def _keep_house(self) -> None:
        """On a thread of its own: a storage that is large or away keeps no job waiting."""
        with self._keeping_house:
            try:
                trim(self._queue, self._sweeps, self._storage, self._settings.retention_days)
                self.meters.garbage(sum(size.num_bytes for size in collect(self._scripts, self._storage)))
            except (Unavailable, Overloaded, Conflict) as error:
                log.warning("the storage was not tidied: %s", error)
                self.meters.fault("storage")
            except Exception:
                log.exception("the storage was not tidied")
                self.meters.fault("storage")

    def _seat_nodes(self) -> None:
        nodes = {node["NodeID"]: node for node in cast(Any, ray).nodes() if node["Alive"]}
        for node_id, node in nodes.items():
            resources, host = node["Resources"], node["NodeManagerHostname"]
            gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
            count = gpus or (self._settings.trainers if cpus else 0)
            for number in range(count):
                name = f"trainer-{node_id[-12:]}-{number}"
                if name not in self._seats:
                    threads = max(1, cpus // count)
                    memory = int(resources.get("memory", 0)) // count
                    self._seats[name] = Seat(name, node_id, host, threads=threads, has_gpu=gpus > 0, memory=memory)
        for name in [name for name, seat in self._seats.items() if seat.node_id not in nodes]:
            self._lost(self._seats.pop(name), "its node left the cluster")

    def _ask_for_nodes(self, most: int) -> None:
        """Has Ray's autoscaler know of the workers that jobs have and wait for: warm trainers ask Ray for nothing."""
        wanted = claims.demand(self._scripts, most)
        cpus = max((seat.threads for seat in self._seats.values()), default=1)
        # Again and again, for a run of Ray Train asks for its own share alone, and the last to ask is heard.
        self.meters.wanted(wanted)
        request_resources(bundles=[{"CPU": cpus}] * wanted.cpu + [{"GPU": 1}] * wanted.gpu)

    def _look_after_guests(self) -> None:
        if self._guests is None:
            self._guests = Guest.adopt_all(self._seats)
        for guest in self._guests:
            guest.look_after()
            if guest.is_over:
                guest.leave()
        self._guests = [guest for guest in self._guests if not guest.is_over]

    def _look_after(self, seat: Seat) -> None:
        if seat.wants_trainer:
            self._fill(seat)
        if seat.ready is not None and ray.wait([seat.ready], timeout=0)[0]:
            self._welcome(seat)
        if seat.work is not None and ray.wait([seat.work.future], timeout=0)[0]:
            self._finished(seat)

    def _fill(self, seat: Seat) -> None:
        """Adopts the actor an earlier dispatcher left at this seat, or starts one."""
        seat.actor = TrainerActor.options(
            name=seat.name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            num_gpus=1 if seat.has_gpu else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(seat.node_id, soft=False),
        ).remote(_environment(), seat.threads)
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

    def _give_work(self) -> bool:
        # The token outlives a lost answer, so that asking again gets the same job and not a second one.
        self._token = self._token or secrets.token_hex(16)
        claimed = claims.claim_fused(
            self._scripts,
            lease_seconds=self._settings.lease_seconds,
            token=self._token,
            free=self._free(),
            most=self._most_fused(),
        )
        self._token = None
        if not claimed:
            return False
        claim = claimed[0]
        seats = choose_seats(self._seats.values(), claim)
        names = ", ".join(seat.name for seat in seats)
        for one in claimed:
            log.info("%s (attempt %d, epoch %d) given to %s", one.job, one.attempt, one.epoch, names)
        if claim.workers > 1 or (claim.seat == "gpu" and claim.spec.resources.gpu_quarters < WHOLE):
            self._seat_guest(claim, seats)
            self.meters.placed("cold")
            return True
        actor = seats[0].actor
        if len(claimed) > 1:
            future = actor.run_fused.remote([tuple(one) for one in claimed], "warm")
        else:
            future = actor.run.remote(tuple(claim), "warm")
        seats[0].work = Work(tuple(claimed), future)
        for _ in claimed:
            self.meters.placed("warm")
        return True

    def _most_fused(self) -> int:
        """Trials that one trainer may be given together, for it is not known yet which of the free ones gets them."""
        free = [seat for seat in self._seats.values() if seat.is_free and not seat.has_gpu]
        return MOST_FUSED if self._settings.fuse and all(seat.can_fuse for seat in free) else 1

    def _seat_guest(self, claim: Claim, seats: list[Seat]) -> None:
        """Makes a process for the job; Ray gives it a GPU once the trainer that has the whole of that has gone."""
        for seat in seats:
            if seat.has_gpu and seat.actor is not None:
                self._retire(seat)
        assert self._guests is not None
        self._guests.append(Guest.start(claim, seats, self._scripts, _environment(), self._settings.lease_seconds))

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
            self._retire(seat)

    def _retire(self, seat: Seat) -> None:
        """A fresh process for the next job: nothing of a failed one is left behind."""
        ray.kill(seat.actor)
        seat.actor, seat.ready, seat.is_warm = None, None, False

    def _lost(self, seat: Seat, why: str) -> None:
        log.warning("%s died: %s", seat.name, why.splitlines()[0])
        self.meters.died()
        for claim in seat.work.claims if seat.work else ():
            claims.lose(self._scripts, claim)
        seat.actor, seat.ready, seat.work, seat.is_warm, seat.inherited = None, None, None, False, []

    def _wait_for_trainers(self) -> None:
        pending = [seat.work.future for seat in self._seats.values() if seat.work is not None]
        pending += [seat.ready for seat in self._seats.values() if seat.ready is not None and not seat.work]
        for guest in self._guests or ():
            pending += [guest.work.future] if guest.work else []
        if pending:
            ray.wait(pending, num_returns=1, timeout=_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)


def _environment() -> dict[str, str]:
    """What the processes of trainers get of ours."""
    return {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}


def main() -> None:
    """Connects to Ray and works until SIGTERM."""
    configure_logs()
    configure_traces("dispatcher")
    settings = Settings()
    RedisScripts(settings.redis_url or "").check_schema()
    ray.init(
        address=settings.ray_address or "auto",
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    dispatcher = Dispatcher(settings)
    if port := settings.dispatcher_metrics_port:
        start_http_server(port, addr=settings.dispatcher_host, registry=dispatcher.meters.registry)
    signal.signal(signal.SIGTERM, lambda *_: dispatcher.stop())
    signal.signal(signal.SIGINT, lambda *_: dispatcher.stop())
    log.info("dispatcher ready")
    dispatcher.run()


if __name__ == "__main__":
    main()
