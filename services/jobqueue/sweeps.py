"""Sweeps: what was asked for, and the trials that came of it. A trial's job is the one record of what became of it.

Knows no search: `services.sweeps` decides what is tried and what is stopped.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnncore.errors import Conflict, FinalConflict, NotFound
from rnncore.sweep_spec import Scalar, SweepSpec
from services.jobqueue import keys
from services.jobqueue.records import JobError, JobState, Scores, TrialOf
from services.jobqueue.scripts import RedisScripts

MOST_UNFINISHED = 100
# Whoever submits may die; the trials that it has submitted then start without the others.
_FILLING_MS = 2_000
_FIELDS = ("tenant", "state", "best", "progress", "worker_ms", "error", "sweep", "trial", "rungs", "stopped_early")

SweepState = Literal["running", "succeeded", "failed", "cancelled"]
TrialState = Literal["queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled", "deleted"]


class Sweep(BaseModel):
    """One sweep: what was asked for (`spec`) and how it stands. Times in Unix seconds."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["sweep"] = "sweep"
    state: SweepState
    spec: SweepSpec | None = Field(description="null only where the record was altered.")
    tenant: str
    created_at: float
    finished_at: float | None = None
    num_trials: int = Field(0, description="Trials made so far.")
    cancel_requested: bool = False
    error: str | None = Field(None, description="Of a failed sweep: why.")
    warning: str | None = None


class Trial(BaseModel):
    """One trial of a sweep: the values it tried, and what became of its job. Without a job: why it could be none."""

    model_config = ConfigDict(frozen=True)

    object: Literal["trial"] = "trial"
    number: int
    point: int = Field(description="Trials of one point differ in their seed alone.")
    parameters: dict[str, Scalar]
    job: str | None
    state: TrialState
    value: float | None = Field(None, description="The objective, at the best checkpoint.")
    step: int = 0
    rungs: list[float] = Field(default_factory=list, description="The objective at each rung that it came to.")
    stopped_early: Literal["halving", "budget"] | None = None
    worker_seconds: float = 0.0
    error: JobError | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled", "deleted")

    @property
    def is_at_work(self) -> bool:
        return self.state in ("running", "pausing")


class Sweeps:
    """The sweeps of all tenants. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts, *, idempotency_seconds: int = 86_400) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._idempotency_seconds = idempotency_seconds

    def create(self, tenant: str, spec: SweepSpec, *, idempotency_key: str | None = None) -> Sweep:
        """Keeps `spec`; durable on return. The same key again answers the sweep it made.

        Raises NotFound naming the field if a data set is not there, FinalConflict if the key was used for something
        else, Conflict if the tenant has as many unfinished sweeps as it may.
        """
        body, sweep_id = spec.model_dump_json(exclude_unset=True), f"sweep-{secrets.token_hex(8)}"
        answer, *detail = self._scripts.run(
            "create_sweep",
            sweep_id,
            tenant,
            body,
            self._scripts.signature(sweep_id, tenant, body),
            spec.spec.dataset,
            spec.spec.validation_dataset or "",
            idempotency_key or "",
            sha256(body.encode()).hexdigest(),
            self._idempotency_seconds,
            MOST_UNFINISHED,
        )
        if answer == "conflict":
            raise FinalConflict(
                f"Idempotency-Key was used for {detail[0]} with another body; send a new key for a new sweep",
                param="Idempotency-Key",
            )
        if answer == "no_dataset":
            found = getattr(spec.spec, detail[0])
            raise NotFound(f"no data set {found}; list yours at GET /v1/datasets", param=f"spec.{detail[0]}")
        if answer == "full":
            raise Conflict(f"{MOST_UNFINISHED} sweeps have not ended yet; cancel one or wait for its end")
        return self.get(tenant, detail[0])

    def get(self, tenant: str, sweep_id: str) -> Sweep:
        """One sweep. Raises NotFound for another tenant's as for an unknown one."""
        found = self._read([sweep_id])
        if not found or found[0].tenant != tenant:
            raise NotFound(f"no sweep {sweep_id}; list yours at GET /v1/sweeps", param="sweep_id")
        return found[0]

    def page(self, tenant: str, *, limit: int = 20, after: str | None = None) -> tuple[list[Sweep], bool]:
        """Sweeps of `tenant`, newest first, those behind sweep `after`; and whether there are more."""
        start = 0
        with self._scripts.faults():
            if after is not None:
                rank = self._redis.zrevrank(keys.sweeps(tenant), after)
                if rank is None:
                    raise NotFound(f"no object {after} to list behind", param="after")
                start = rank + 1
            ids = self._redis.zrevrange(keys.sweeps(tenant), start, start + limit)
        return self._read(ids[:limit]), len(ids) > limit

    def unfinished(self) -> list[Sweep]:
        """Of all tenants, the oldest first."""
        with self._scripts.faults():
            return self._read(self._redis.zrange(keys.SWEEPING, 0, -1))

    def cancel(self, tenant: str, sweep_id: str) -> Sweep:
        """It gets no trial more, and ends once those it has have ended; one that has ended stays as it is."""
        if self._scripts.run("cancel_sweep", sweep_id, tenant) == "missing":
            raise NotFound(f"no sweep {sweep_id}; list yours at GET /v1/sweeps", param="sweep_id")
        return self.get(tenant, sweep_id)

    def end(self, sweep_id: str, state: SweepState, *, error: str = "", warning: str = "") -> None:
        """Ends it for good."""
        self._scripts.run("end_sweep", sweep_id, state, error, warning)

    def trials(self, sweep: Sweep, numbers: Iterable[int] | None = None) -> list[Trial]:
        """Its trials by number, all or some, as their jobs have them now."""
        with self._scripts.faults():
            if numbers is None:
                kept = {int(number): raw for number, raw in self._redis.hgetall(keys.trials(sweep.id)).items()}
            else:
                wanted = list(numbers)
                found = self._redis.hmget(keys.trials(sweep.id), wanted) if wanted else []
                kept = {number: raw for number, raw in zip(wanted, found, strict=True) if raw}
            asked = {number: json.loads(raw) for number, raw in sorted(kept.items())}
            with self._redis.pipeline(transaction=False) as jobs:
                for trial in asked.values():
                    jobs.hmget(keys.job(trial["job"] or ""), *_FIELDS)
                told = [dict(zip(_FIELDS, fields, strict=True)) for fields in jobs.execute()]
        return [_trial(sweep, number, asked[number], job) for number, job in zip(asked, told, strict=True)]

    def refuse(self, sweep: Sweep, number: int, parameters: Mapping[str, Any], error: JobError) -> None:
        """Keeps trial `number` as one that could be no job."""
        kept = {"job": None, "parameters": dict(parameters), "error": error.model_dump()}
        with self._scripts.faults():
            self._redis.hsetnx(keys.trials(sweep.id), number, json.dumps(kept))

    def mark(
        self, trial: Trial, *, score: float | None = None, stop: Literal["halving", "budget"] | None = None
    ) -> None:
        """Keeps `score` as that at the next rung of `trial`; with `stop`, ends it there. Ended trials stay so."""
        rung = "" if score is None else repr(score)
        self._scripts.run("mark_trial", trial.job or "", len(trial.rungs), rung, stop or "")

    @contextmanager
    def filling(self, sweep: Sweep) -> Iterator[None]:
        """Holds trials that could be fused back from the workers while more of them are submitted, for a while."""
        key = keys.filling(sweep.id)
        with self._scripts.faults():
            self._redis.set(key, 1, px=_FILLING_MS)
        try:
            yield
        finally:
            with self._scripts.faults(), self._redis.pipeline() as filled:
                filled.delete(key)
                filled.lpush(keys.BELL, 1)
                filled.ltrim(keys.BELL, 0, 15)
                filled.execute()

    def lead(self, token: str, seconds: float) -> bool:
        """Whether the holder of `token` is the one that moves sweeps on, for the next `seconds`."""
        return bool(self._scripts.run("lead", token, int(seconds * 1000)))

    def trim(self, before: float) -> int:
        """Forgets sweeps that ended before the Unix time `before`, not their jobs; answers how many."""
        with self._scripts.faults():
            expired = self._redis.zrangebyscore(keys.SWEEPS_ENDED, "-inf", f"({before * 1000}", start=0, num=100)
            for sweep_id in expired:
                tenant = self._redis.hget(keys.sweep(sweep_id), "tenant") or ""
                with self._redis.pipeline() as forget:
                    forget.zrem(keys.sweeps(tenant), sweep_id)
                    forget.delete(keys.sweep(sweep_id), keys.trials(sweep_id))
                    forget.zrem(keys.SWEEPS_ENDED, sweep_id)
                    forget.execute()
        return len(expired)

    def jobs_of_unfinished(self) -> set[str]:
        """What sweeps that have not ended stand on: their trials' jobs, and those whose models they start from."""
        found = set()
        for sweep in self.unfinished():
            found |= {trial.job for trial in self.trials(sweep) if trial.job}
            if sweep.spec and sweep.spec.spec.init_from:
                found.add(sweep.spec.spec.init_from.partition(":")[0])
        return found

    def _read(self, ids: list[str]) -> list[Sweep]:
        with self._scripts.faults(), self._redis.pipeline(transaction=False) as asked:
            for sweep_id in ids:
                asked.hgetall(keys.sweep(sweep_id))
                asked.hlen(keys.trials(sweep_id))
            answers = asked.execute()
        return [self._sweep(fields, count) for fields, count in zip(answers[::2], answers[1::2], strict=True) if fields]

    def _sweep(self, fields: Mapping[str, str], num_trials: int) -> Sweep:
        spec = None
        if self._scripts.is_signed(fields.get("signature"), fields["id"], fields["tenant"], fields["spec"]):
            try:
                spec = SweepSpec.model_validate_json(fields["spec"])
            except ValidationError:  # of a version of the service that knew other fields
                spec = None
        times = {name: int(fields[name]) / 1000 for name in ("created_at", "finished_at") if fields.get(name)}
        return Sweep(
            id=fields["id"],
            state=fields["state"],
            spec=spec,
            tenant=fields["tenant"],
            num_trials=num_trials,
            cancel_requested=fields.get("cancel_requested") == "1",
            error=fields.get("error") or None,
            warning=fields.get("warning") or None,
            **times,
        )


def _trial(sweep: Sweep, number: int, asked: Mapping[str, Any], job: Mapping[str, str | None]) -> Trial:
    replicates = sweep.spec.replicates if sweep.spec else 1
    place = {"number": number, "point": number // replicates, "parameters": asked["parameters"], "job": asked["job"]}
    if asked["job"] is None:
        return Trial.model_validate({**place, "state": "failed", "error": asked["error"]})
    if job["tenant"] != sweep.tenant:
        return Trial.model_validate({**place, "state": "deleted"})
    best = Scores.model_validate_json(job["best"]) if job["best"] else None
    value = sweep.spec.objective.value(best.validation_loss, best.metrics) if sweep.spec and best else None
    as_trial = TrialOf.read(job)
    return Trial.model_validate(
        {
            **place,
            "state": job["state"],
            "value": value,
            "step": json.loads(job["progress"])["step"] if job["progress"] else 0,
            "rungs": as_trial.rungs if as_trial else [],
            "stopped_early": as_trial.stopped_early if as_trial else None,
            "worker_seconds": int(job["worker_ms"] or 0) / 1000,
            "error": json.loads(job["error"]) if job["error"] and job["state"] == JobState.FAILED else None,
        }
    )
