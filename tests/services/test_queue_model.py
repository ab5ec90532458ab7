"""A state machine drives the scripts and a model of the queue side by side: after every step both say the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule
from queue_samples import LEASE_SECONDS, TENANT, VALIDATION, add_datasets, audit, make_checkpoint, submit

from rnncore.errors import Cancelled, LeaseLost
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants

DATASETS = {TENANT: "ds-" + "a" * 32, "tenant-b": VALIDATION}
MOST_RUNNING = {TENANT: None, "tenant-b": 2}
MOST_ATTEMPTS, MOST_LOSSES = 3, 3
ENDED = ("succeeded", "failed", "cancelled")
ERROR = {"type": "io_error", "message": "a disk", "hint": None, "log_tail": ""}


@dataclass
class Job:
    """What the model knows of a job."""

    tenant: str
    priority: int
    number: int
    state: str = "queued"
    is_in_backoff: bool = False
    epoch: int = 0
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    furthest: int = 0
    wants_cancel: bool = False
    checkpoints: set[int] = field(default_factory=set)

    @property
    def is_working(self) -> bool:
        return self.state in ("running", "pausing")

    def leaves(self, *, to_backoff: bool = False) -> None:
        """Its worker is gone and it is to run again."""
        if self.wants_cancel:
            self.state = "cancelled"
        elif self.state == "pausing":
            self.state = "paused"
        else:
            self.state, self.is_in_backoff = "queued", to_backoff


class QueueMachine(RuleBasedStateMachine):
    """Trainers may hold claims that are long over, and speak when they like."""

    url: ClassVar[str]
    jobs: Bundle[str] = Bundle("jobs")
    held: Bundle[Claim] = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.scripts = RedisScripts(self.url, b"secret")
        self.scripts.redis.flushall()
        self.queue = JobQueue(self.scripts)
        self.model: dict[str, Job] = {}
        self.trainers: dict[str, ClaimedJob] = {}
        for tenant, dataset in DATASETS.items():
            add_datasets(self.queue, tenant, dataset)
            Tenants(self.scripts).put(tenant, TenantLimits(max_running=MOST_RUNNING[tenant]))

    def teardown(self) -> None:
        self.scripts.redis.flushall()
        self.scripts.close()

    @rule(target=jobs, tenant=st.sampled_from([*DATASETS]), priority=st.integers(0, 9))
    def submit(self, tenant: str, priority: int) -> str:
        record = submit(self.queue, tenant, dataset=DATASETS[tenant], priority=priority, max_attempts=MOST_ATTEMPTS)
        self.model[record.id] = Job(tenant, priority, len(self.model))
        return record.id

    @rule(target=held)
    def claim(self) -> Any:
        found = claims.claim(self.scripts, lease_seconds=LEASE_SECONDS)
        first = self._first_of_each_tenant()
        if found is None:
            assert first == set()
            return multiple()
        assert found.job in first
        job = self.model[found.job]
        job.state, job.epoch, job.attempt = "running", job.epoch + 1, job.attempt + 1
        assert (found.epoch, found.attempt) == (job.epoch, job.attempt)
        return found

    @rule(claim=held, step=st.integers(1, 5))
    def publish(self, claim: Claim, step: int) -> None:
        trainer = self._trainer(claim)
        job = self._mine(claim)
        if job is None:
            self._refused(lambda: trainer.write(publish=[make_checkpoint(claim, step)]))
        elif job.wants_cancel:
            with pytest.raises(Cancelled):
                trainer.write(publish=[make_checkpoint(claim, step)])
        else:
            trainer.write(publish=[make_checkpoint(claim, step)])
            assert trainer.is_to_suspend == (job.state == "pausing")
        if job is not None:
            job.checkpoints.add(step)
            if step > job.furthest:
                job.furthest, job.losses, job.failures = step, 0, 0

    @rule(claim=consumes(held), end=st.sampled_from(["succeeded", "failed", "suspended", "lost", "released"]))
    def end(self, claim: Claim, end: str) -> None:
        job, trainer = self._mine(claim), self._trainer(claim)
        say: dict[str, Callable[[], None]] = {
            "succeeded": lambda: trainer.finish("succeeded", "0" * 64),
            "failed": lambda: trainer.fail(ERROR, retriable=True),
            "suspended": trainer.suspend,
            "lost": lambda: claims.lose(self.scripts, claim),
            "released": lambda: claims.release(self.scripts, claim),
        }
        if job is None:
            before = self._states()
            if end in ("lost", "released"):
                say[end]()
            else:
                self._refused(say[end])
            assert self._states() == before
            return
        say[end]()
        if end == "succeeded":
            job.state = "succeeded"
        elif end == "failed":
            job.failures += 1
            if job.failures < MOST_ATTEMPTS or job.wants_cancel:
                job.leaves(to_backoff=True)
            else:
                job.state = "failed"
        elif end == "lost":
            job.losses += 1
            if job.losses >= MOST_LOSSES and not job.wants_cancel:
                job.state = "failed"
            else:
                job.leaves()
        else:
            job.attempt -= end == "released"
            job.leaves()

    @rule(end=st.sampled_from(["suspended", "lost", "lost", "released"]), times=st.integers(1, 3))
    def bad_day(self, end: str, times: int) -> None:
        """Short-lived claims one after another, which single rules rarely make of one job."""
        for _ in range(times):
            claim = self.claim()
            if isinstance(claim, Claim):
                self.end(claim, end)

    @rule(claim=held, what=st.sampled_from(["cancel", "pause", "resume"]))
    def steer_running(self, claim: Claim, what: str) -> None:
        self.steer(claim.job, what)

    @precondition(lambda self: any(job.is_in_backoff for job in self.model.values()))
    @rule()
    def backoff_ends(self) -> None:
        for job_id, job in self.model.items():
            if job.is_in_backoff:
                self.scripts.redis.zadd(keys.BACKOFF, {job_id: 1})
                job.is_in_backoff = False
        claims.reap(self.scripts, lease_seconds=LEASE_SECONDS)

    @rule(job_id=jobs, what=st.sampled_from(["cancel", "pause", "resume"]))
    def steer(self, job_id: str, what: str) -> None:
        job = self.model[job_id]
        getattr(self.queue, what)(job.tenant, job_id)
        if what == "cancel":
            if job.is_working:
                job.wants_cancel = True
            elif job.state not in ENDED:
                job.state = "cancelled"
        elif what == "pause":
            job.state = {"queued": "paused", "running": "pausing"}.get(job.state, job.state)
        else:
            job.state = {"paused": "queued", "pausing": "running"}.get(job.state, job.state)
        if job.state != "queued":
            job.is_in_backoff = False

    @invariant()
    def both_say_the_same(self) -> None:
        assert self._states() == {job_id: (job.state, job.epoch, job.attempt) for job_id, job in self.model.items()}
        for job_id, job in self.model.items():
            steps = {checkpoint.step for checkpoint in self.queue.checkpoints(job.tenant, job_id)}
            assert steps == job.checkpoints
        audit(self.scripts)

    def _states(self) -> dict[str, tuple[str, int, int]]:
        listed = [record for tenant in DATASETS for record in self.queue.jobs(tenant, limit=1000)[0]]
        return {record.id: (record.state.value, record.epoch, record.attempt) for record in listed}

    def _first_of_each_tenant(self) -> set[str]:
        """Jobs that may start now: each tenant's most urgent, then oldest, if its quota lets it have one more."""
        first = set()
        for tenant in DATASETS:
            ready = [
                (-job.priority, job.number, job_id)
                for job_id, job in self.model.items()
                if job.tenant == tenant and job.state == "queued" and not job.is_in_backoff
            ]
            working = sum(job.is_working for job in self.model.values() if job.tenant == tenant)
            if ready and working < (MOST_RUNNING[tenant] or len(self.model) + 1):
                first.add(min(ready)[2])
        return first

    def _mine(self, claim: Claim) -> Job | None:
        """The job of `claim`, if that is the present one."""
        job = self.model[claim.job]
        return job if job.is_working and job.epoch == claim.epoch else None

    def _trainer(self, claim: Claim) -> ClaimedJob:
        return self.trainers.setdefault(claim.token, ClaimedJob(self.scripts, claim, lease_seconds=LEASE_SECONDS))

    def _refused(self, say: Callable[[], None]) -> None:
        with pytest.raises(LeaseLost):
            say()


@pytest.mark.parametrize("examples", [40, pytest.param(1500, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_scripts_and_model_agree(redis_server: Any, examples: int) -> None:
    QueueMachine.url = redis_server.url
    QueueMachine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    QueueMachine.TestCase("runTest").runTest()
