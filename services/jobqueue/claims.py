"""The trainer's side of the queue: claim a job, and write as long as (epoch, token) is the present claim.

A ClaimedJob renews its lease from a thread of its own, so that a long step or a slow disk does not lose the job, and
notices by a monotonic deadline when nobody has confirmed the lease for too long.
"""

import json
import logging
import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import ValidationError

from rnncore.errors import Cancelled, LeaseLost, TimedOut, Unavailable
from rnncore.spec import JobSpec
from services.jobqueue import keys
from services.jobqueue.records import Capacity, Checkpoint, Claim, Seats
from services.jobqueue.scripts import RedisScripts

log = logging.getLogger(__name__)

STUCK = 75  # os.EX_TEMPFAIL: the exit status of a process that ended itself because its job was stuck

# Often enough that a cancel is seen at once, and many beats fit into one lease.
BEAT_SECONDS = 0.3
_FIRST_PAUSE_MS = 2_000
_LONGEST_PAUSE_MS = 300_000
_NO_REPORT = 0
_NONE, _ONE_CPU = Seats(0, 0), Seats(1, 0)


def claim(
    scripts: RedisScripts, *, lease_seconds: float, token: str | None = None, free: Seats = _ONE_CPU
) -> Claim | None:
    """The next job that fits the free seats, or None. Ask again with the same `token` if the answer was lost.

    A record that is not what the service wrote is set aside, and the next one is handed out.
    """
    return next(iter(claim_fused(scripts, lease_seconds=lease_seconds, token=token, free=free, most=1)), None)


def claim_fused(
    scripts: RedisScripts, *, lease_seconds: float, token: str | None = None, free: Seats = _ONE_CPU, most: int
) -> list[Claim]:
    """As `claim`, with up to `most` trials of one sweep where one worker can train them together, on one seat."""
    while rows := scripts.run("claim", token or secrets.token_hex(16), int(lease_seconds * 1000), *_told(free), most):
        if whole := [held for row in rows if (held := _claim_in(scripts, row))]:
            return whole
        token = None
    return []


def _claim_in(scripts: RedisScripts, row: Sequence[str]) -> Claim | None:
    """The claim that the script answered; None where the record is not what the service wrote."""
    job_id, tenant, epoch, held, attempt, spec, signature, seat, traceparent, workers = row
    try:
        if scripts.is_signed(signature, job_id, tenant, spec):
            asked = JobSpec.model_validate_json(spec)
            kind: Literal["cpu", "gpu"] = "gpu" if seat == "gpu" else "cpu"
            return Claim(job_id, tenant, int(epoch), held, int(attempt), asked, kind, traceparent, int(workers))
    except ValidationError:
        pass
    log.error("the record of %s was altered outside the service; set aside", job_id)
    scripts.run("set_aside", job_id)
    return None


def reap(scripts: RedisScripts, *, lease_seconds: float) -> None:
    """What a claim does before it hands out a job: jobs of ended leases and ended pauses are ready again."""
    scripts.run("claim", secrets.token_hex(16), int(lease_seconds * 1000), *_told(_NONE), 1)


def publish_capacity(scripts: RedisScripts, capacity: Capacity) -> None:
    """Tells the queue what its workers could run were they all free."""
    seats = capacity.seats
    told = {"cpu": seats.cpu, "gpu": seats.gpu, "memory": capacity.memory, "most": capacity.most}
    with scripts.faults():
        scripts.redis.hset(keys.CAPACITY, mapping=told)


def wait_for_job(scripts: RedisScripts, seconds: float) -> None:
    """Returns when a job may have become ready, or after `seconds`. A bell can be lost: claim in any case."""
    with scripts.faults():
        scripts.redis.blpop([keys.BELL], timeout=seconds)


def release(scripts: RedisScripts, held: Claim) -> None:
    """Gives back a claim that could not be used."""
    scripts.run("release", held.job, held.epoch, held.token)


def lose(scripts: RedisScripts, held: Claim, reason: Literal["worker_lost", "no_progress"] = "worker_lost") -> None:
    """Reports that the worker of `held` died; nothing happens if the claim is no longer the present one."""
    scripts.run("lose", held.job, held.epoch, held.token, reason)


def preempt(scripts: RedisScripts, free: Seats = _NONE) -> str | None:
    """Asks a running job to make place for a waiting one of its tenant that is more urgent; answers which."""
    chosen: str | None = scripts.run("preempt", *_told(free))
    return chosen


def demand(scripts: RedisScripts, most: int) -> Seats:
    """Seats that running jobs have and ready ones wait for, `most` in all; of GPUs the whole ones it comes to."""
    cpu, quarters = scripts.run("demand", most)
    return Seats(cpu, math.ceil(quarters / 4))


def _told(free: Seats) -> tuple[int, int, str]:
    """Seats as arguments of a script."""
    return free.cpu, free.gpu, " ".join(map(str, free.shares))


class SignOfLife:
    """When something was last told of any of the jobs that one process trains together."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def give(self) -> None:
        self.at = time.monotonic()


class ClaimedJob:
    """A claim and its lease. Use as a context manager: beats inside, none after."""

    def __init__(
        self,
        scripts: RedisScripts,
        held: Claim,
        *,
        lease_seconds: float,
        stall_seconds: float = math.inf,
        end_process: Callable[[], None] = lambda: None,
        sign_of_life: SignOfLife | None = None,
    ) -> None:
        """`end_process` is called where nothing else stops a thread that trains and is stuck.

        That is so where it has told nothing for `stall_seconds`, or is still here a lease after the lease was lost.
        Jobs that one thread trains together share their `sign_of_life`.
        """
        self.claim = held
        self._stall_seconds = stall_seconds
        self._end_process = end_process
        self._sign_of_life = sign_of_life or SignOfLife()
        self._scripts = scripts
        self._lease_ms = int(lease_seconds * 1000)
        self._lease_seconds = lease_seconds
        self._asked_at = time.monotonic()
        self._deadline = self._asked_at + lease_seconds
        self._verdict: Literal["ok", "cancel", "timeout", "suspend", "lost"] = "ok"
        self._report = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{held.job}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raises Cancelled or LeaseLost where the queue has said so, or said nothing for a whole lease."""
        if self._verdict == "lost" or time.monotonic() > self._deadline:
            raise LeaseLost(f"{self.claim.job} epoch {self.claim.epoch} is no longer ours")
        if self._verdict == "cancel":
            raise Cancelled(f"{self.claim.job} was cancelled by its owner")
        if self._verdict == "timeout":
            raise TimedOut(
                f"the job took longer than its timeout_seconds of {self.claim.spec.timeout_seconds}; "
                "retry it with a larger one to go on from its last checkpoint",
                param="timeout_seconds",
            )

    @property
    def is_to_suspend(self) -> bool:
        """Whether the queue wants the worker back: for a pause, or for a job that is more urgent."""
        return self._verdict == "suspend"

    def end_before_start(self) -> str | None:
        """Ends the claim of a job that nobody trains yet, where the queue wants that; answers how it ended."""
        try:
            if self._verdict == "cancel":
                self.finish("cancelled")
                return "cancelled"
            if self.is_to_suspend:
                self.suspend()
                return "suspended"
            if self._verdict != "timeout":  # which its trainer says in the job's log
                self.check()
        except LeaseLost:
            return "lost"
        return None

    def write(
        self,
        *,
        fields: Mapping[str, Any] | None = None,
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
        publish: Sequence[Checkpoint] = (),
        drop: Sequence[int] = (),
        totals: Mapping[str, int] | None = None,
    ) -> None:
        """Writes through the fence: fields of the record, events, checkpoint pointers. Raises as `check` does.

        Waits for a Redis that is away as long as the lease lasts.
        """
        self._sign_of_life.give()
        arguments = _arguments(fields or {}, events, publish, drop, totals or {})
        self._report += 1
        while True:
            try:
                self._renew(self._report, arguments)
                break
            except Unavailable:
                if self._over.wait(0.2):
                    raise
                self.check()
        self.check()

    def published_steps(self) -> set[int]:
        """Steps whose checkpoints the job has now; one that was to be dropped is still there if an alias names it.

        Raises as `write` does, and waits as long.
        """
        while True:
            try:
                with self._scripts.faults():
                    return {int(step) for step in self._scripts.redis.hkeys(keys.checkpoints(self.claim.job))}
            except Unavailable:
                if self._over.wait(0.2):
                    raise
                self.check()

    def finish(self, state: Literal["succeeded", "cancelled"], parameters_sha256: str | None = None) -> None:
        """Ends the job. Raises LeaseLost if it is no longer ours to end."""
        self._end("finish", state, parameters_sha256 or "")

    def suspend(self) -> None:
        """Gives the job back; its next claim goes on from the last checkpoint. Raises LeaseLost."""
        self._end("suspend")

    def fail(self, error: Mapping[str, Any], *, retriable: bool) -> None:
        """Ends the attempt: again after a pause if `retriable` and attempts remain, else for good."""
        attempts, kind = self.claim.spec.max_attempts, error["type"]
        pauses = (_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS, random.random())
        self._end("fail", json.dumps(error), kind, int(retriable), attempts, *pauses)

    def _end(self, script: str, *arguments: str | float) -> None:
        held = self.claim
        while True:
            try:
                answer = self._scripts.run(script, held.job, held.epoch, held.token, *arguments)
                break
            except Unavailable:
                if time.monotonic() > self._deadline:
                    raise
                self._over.wait(0.2)
        if answer != "ok":
            raise LeaseLost(f"{held.job} epoch {held.epoch} is no longer ours")

    def _renew(self, report: int, arguments: list[str | int]) -> None:
        asked_at = self._asked_at = time.monotonic()
        held = self.claim
        verdict = self._scripts.run("beat", held.job, held.epoch, held.token, self._lease_ms, report, *arguments)
        if self._verdict != "lost":  # once lost, always lost: replies may overtake one another
            self._verdict = verdict
        if verdict != "lost":
            self._deadline = asked_at + self._lease_seconds

    def _beat(self) -> None:
        while not self._over.wait(max(0.0, self._asked_at + BEAT_SECONDS - time.monotonic())):
            if time.monotonic() - self._asked_at < BEAT_SECONDS:
                continue  # a report has renewed the lease meanwhile
            try:
                self._renew(_NO_REPORT, _arguments({}, (), (), (), {}))
            except Unavailable as error:
                log.warning("lease of %s not renewed: %s", self.claim.job, error)
            except Exception:
                log.exception("lease of %s not renewed", self.claim.job)
            now = time.monotonic()
            if self._verdict == "lost" or now > self._deadline:
                break
            if now - self._sign_of_life.at > self._stall_seconds:
                self._give_up()
                return
        if not self._over.wait(self._lease_seconds):
            log.error("%s goes on a lease after it was lost: ending this process", self.claim.job)
            self._end_process()

    def _give_up(self) -> None:
        log.error("%s made no progress for %.0f s: ending this process", self.claim.job, self._stall_seconds)
        try:
            lose(self._scripts, self.claim, "no_progress")
        finally:
            self._end_process()


def _arguments(
    fields: Mapping[str, Any],
    events: Sequence[tuple[str, Mapping[str, Any]]],
    publish: Sequence[Checkpoint],
    drop: Sequence[int],
    totals: Mapping[str, int],
) -> list[str | int]:
    """The five counted lists of beat.lua."""
    arguments: list[str | int] = [len(fields)]
    for name, value in fields.items():
        arguments += [name, value if isinstance(value, str) else json.dumps(value)]
    arguments.append(len(events))
    for kind, data in events:
        arguments += [kind, json.dumps(data)]
    arguments.append(len(publish))
    for checkpoint in publish:
        stored = checkpoint.model_dump(mode="json") | {"path": checkpoint.path}
        arguments += [checkpoint.step, json.dumps(stored)]
    arguments += [len(drop), *drop, len(totals)]
    for name, amount in totals.items():
        arguments += [name, amount]
    return arguments
