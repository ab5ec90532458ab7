"""Claims jobs and places them: on warm trainers (`pool`), or on processes made for them (`guests`). Holds no truth: its
death harms nothing, its successor adopts both.

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

import ray
from prometheus_client import start_http_server
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError

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
from workers.places import WHOLE, Seat, choose_seats
from workers.pool import Pool
from workers.pulse import Pulse

log = logging.getLogger(__name__)

_NAMESPACE = "unroll"
_POLL_SECONDS = 0.5
_RAY_FAULTS = 20
_LOOK_SECONDS = 1.0
_TRIM_SECONDS = 3600.0
_PASSED_ON = ("UNROLL_", "REDIS_", "OTEL_", "AWS_", "FSSPEC_")


class Dispatcher:
    """Keeps the trainers busy while jobs wait, and sees to what is not needed at every round."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.meters = Meters()
        self._scripts = RedisScripts(settings.redis_url or "", settings.secret)
        self._environment = _environment()
        self._pool = Pool(self._scripts, self.meters, self._environment, settings.trainers)
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
        if any(self._pool.free()):
            claims.wait_for_job(self._scripts, _POLL_SECONDS)
        else:
            self._wait_for_trainers()

    def _round(self) -> None:
        self._pool.seat_nodes()
        self._look_after_guests()
        self._pool.look_after(self._drains.since())
        while any(self._pool.free()) and self._give_work():
            pass
        guests = self._guests or ()
        gangs = [guest.num_workers for guest in guests if guest.num_workers > 1]
        self.meters.places(list(self._pool.seats.values()), gangs, len(guests) - len(gangs))
        self._look_around()

    def _look_around(self) -> None:
        """What is not needed at every round: leases that ended, somebody who waits and should not, jobs of old."""
        present = time.monotonic()
        most = self._settings.max_workers
        if present - self._looked_at < _LOOK_SECONDS or not (self._pool.seats or most):
            return
        self._looked_at = present
        seats = list(self._pool.seats.values())
        kinds = Counted(seat.kind for seat in seats)
        memory = max((seat.memory for seat in seats), default=0)
        self._drains.publish_nodes({seat.node_id: seat.host for seat in seats})
        publish_workers(self._scripts, self._pulse.tell(seats, {g.name: g.job for g in self._guests or ()}))
        claims.publish_capacity(self._scripts, Capacity(Seats(kinds["cpu"], kinds["gpu"]), memory, most))
        if most:
            self._ask_for_nodes(most)
        if not any(self._pool.free()):
            claims.reap(self._scripts, lease_seconds=self._settings.lease_seconds)
        if job := claims.preempt(self._scripts, self._pool.free()):
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

    def _ask_for_nodes(self, most: int) -> None:
        """Has Ray's autoscaler know of the workers that jobs have and wait for: warm trainers ask Ray for nothing."""
        wanted = claims.demand(self._scripts, most)
        cpus = max((seat.threads for seat in self._pool.seats.values()), default=1)
        # Again and again, for a run of Ray Train asks for its own share alone, and the last to ask is heard.
        self.meters.wanted(wanted)
        request_resources(bundles=[{"CPU": cpus}] * wanted.cpu + [{"GPU": 1}] * wanted.gpu)

    def _look_after_guests(self) -> None:
        if self._guests is None:
            self._guests = Guest.adopt_all(self._pool.seats)
        for guest in self._guests:
            guest.look_after()
            if guest.is_over:
                guest.leave()
        self._guests = [guest for guest in self._guests if not guest.is_over]

    def _give_work(self) -> bool:
        # The token outlives a lost answer, so that asking again gets the same job and not a second one.
        self._token = self._token or secrets.token_hex(16)
        claimed = claims.claim_fused(
            self._scripts,
            lease_seconds=self._settings.lease_seconds,
            token=self._token,
            free=self._pool.free(),
            most=MOST_FUSED if self._settings.fuse and self._pool.can_fuse() else 1,
        )
        self._token = None
        if not claimed:
            return False
        claim = claimed[0]
        seats = choose_seats(self._pool.seats.values(), claim)
        names = ", ".join(seat.name for seat in seats)
        for one in claimed:
            log.info("%s (attempt %d, epoch %d) given to %s", one.job, one.attempt, one.epoch, names)
        if claim.workers > 1 or (claim.seat == "gpu" and claim.spec.resources.gpu_quarters < WHOLE):
            self._seat_guest(claim, seats)
            self.meters.placed("cold")
            return True
        self._pool.give(seats[0], claimed)
        for _ in claimed:
            self.meters.placed("warm")
        return True

    def _seat_guest(self, claim: Claim, seats: list[Seat]) -> None:
        """Makes a process for the job; Ray gives it a GPU once the trainer that has the whole of that has gone."""
        for seat in seats:
            if seat.has_gpu and seat.actor is not None:
                self._pool.retire(seat)
        assert self._guests is not None
        self._guests.append(Guest.start(claim, seats, self._scripts, self._environment, self._settings.lease_seconds))

    def _wait_for_trainers(self) -> None:
        pending = self._pool.pending() + [guest.work.future for guest in self._guests or () if guest.work]
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
        namespace=_NAMESPACE,
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
