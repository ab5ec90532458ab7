"""Moves the sweeps on: starts trials, stops the worse ones, ends what is through. Its death is a non-event.

Any number of processes may have one; the holder of a lease in Redis works. All that it decides goes into the trials'
records by scripts that do nothing a second time, so that a successor goes on from there.
"""

import logging
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ValidationError

from rnncore.errors import Conflict, NotFound, Overloaded, Unavailable, UnrollError
from rnncore.fusable import keeps_key, most_fused
from rnncore.sweep_points import fault_of_spec, most_trials, trial_spec
from rnncore.sweep_spec import SuccessiveHalving, SweepSpec
from services.faults import fault_of, job_error
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobError, NewTrial
from services.jobqueue.sweeps import Sweep, Sweeps, Trial
from services.settings import Settings
from services.storage import Storage
from services.submission import submit
from services.sweeps.halving import goes_on, score_at
from services.sweeps.report import best_trial
from services.sweeps.search import learns, next_point

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.3
_LEASE_SECONDS = 5.0
_TRIM_SECONDS = 3600.0
_EVENTS = 1000


@dataclass
class _Heard:
    """Validations that a job's events told, (step, score), and the event up to which they were read."""

    validations: list[tuple[int, float]] = field(default_factory=list)
    event: str | None = None


@dataclass
class _Course:
    """What is remembered of a sweep between two looks, by number of the trial; it can be read again at any time."""

    trials: dict[int, Trial] = field(default_factory=dict)
    heard: dict[int, _Heard] = field(default_factory=dict)
    is_known: bool = False


class Sweeper:
    """A thread that moves the sweeps of all tenants on, while it is the one to do so."""

    def __init__(self, settings: Settings, queue: JobQueue, sweeps: Sweeps, storage: Storage) -> None:
        self.settings, self.queue, self.storage = settings, queue, storage
        self._sweeps = sweeps
        self._token = secrets.token_hex(16)
        self._courses: dict[str, _Course] = {}
        self._trimmed_at = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeps", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(_LEASE_SECONDS)

    def step(self) -> None:
        """Looks at every sweep once, whatever befalls one of them. Raises Unavailable, and Overloaded in the end."""
        if not self._sweeps.lead(self._token, _LEASE_SECONDS):
            self._courses = {}
            return
        unfinished = self._sweeps.unfinished()
        self._courses = {sweep.id: self._courses.get(sweep.id, _Course()) for sweep in unfinished}
        full: Overloaded | None = None
        for sweep in unfinished:
            try:
                self._advance(sweep, self._courses[sweep.id])
            except Unavailable:
                raise
            except Overloaded as error:  # this one has to wait with its next trial; another may have come to its end
                full = error
            except Exception:
                log.exception("%s", sweep.id)
        if time.time() - self._trimmed_at > _TRIM_SECONDS:
            self._trimmed_at = time.time()
            self._sweeps.trim(self._trimmed_at - self.settings.retention_days * 86_400)
        if full:
            raise full

    def _run(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            try:
                self.step()
            except (Unavailable, Overloaded) as error:
                log.warning("sweeps wait: %s", error)
            except Exception:
                log.exception("sweeps")

    def _advance(self, sweep: Sweep, course: _Course) -> None:
        spec = sweep.spec
        if spec is None:
            self._sweeps.end(sweep.id, "failed", error="the record of this sweep was altered outside the service")
            return
        for trial in self._look(sweep, course):
            course.trials[trial.number] = trial
        if spec.early_stopping:
            for trial in [trial for trial in course.trials.values() if _may_be_judged(trial, spec.early_stopping)]:
                self._judge(sweep, spec, spec.early_stopping, trial, course)
        is_used_up = _is_used_up(sweep, spec, course)
        if is_used_up or sweep.cancel_requested:
            self._stop_all(sweep, course)
        else:
            self._start_trials(sweep, spec, course)
        has_all = len(course.trials) >= most_trials(spec) or is_used_up or sweep.cancel_requested
        if has_all and all(trial.is_over for trial in course.trials.values()):
            self._end(sweep, spec, list(course.trials.values()))

    def _look(self, sweep: Sweep, course: _Course) -> list[Trial]:
        """The trials that may have changed since the last look."""
        if course.is_known:
            open_ones = [number for number, trial in course.trials.items() if not trial.is_over]
            return self._sweeps.trials(sweep, open_ones)
        course.is_known = True
        return self._sweeps.trials(sweep)

    def _judge(self, sweep: Sweep, spec: SweepSpec, halving: SuccessiveHalving, trial: Trial, course: _Course) -> None:
        """Keeps the score of a trial at each rung that it has come to; stops it at the first that it does not pass."""
        validations = self._validations(sweep, spec, trial, course.heard.setdefault(trial.number, _Heard()))
        # A validation is told before its checkpoint is made: who is stopped in between would have none.
        validations = [told for told in validations if told[0] < trial.step or not trial.is_at_work]
        while not trial.stopped_early:
            rung = len(trial.rungs)
            score = score_at(halving.rung_step(rung), validations)
            if score is None:
                return
            rivals = [other.rungs[rung] for other in course.trials.values() if len(other.rungs) > rung]
            passes = goes_on(score, [*rivals, score], factor=halving.factor, is_maximized=spec.objective.is_maximized)
            stop: Literal["halving"] | None = None if passes or trial.is_over else "halving"
            self._sweeps.mark(trial, score=score, stop=stop)
            if stop:
                log.info("%s: trial %d stopped at rung %d with %.4f", sweep.id, trial.number, rung, score)
            trial = trial.model_copy(update={"rungs": [*trial.rungs, score], "stopped_early": stop})
            course.trials[trial.number] = trial

    def _validations(self, sweep: Sweep, spec: SweepSpec, trial: Trial, heard: _Heard) -> list[tuple[int, float]]:
        has_more = True
        while has_more:
            try:
                events, has_more = self.queue.events(sweep.tenant, trial.job or "", after=heard.event, limit=_EVENTS)
            except NotFound:  # deleted by its owner
                break
            for event in events:
                heard.event = event.id
                loss = event.data.get("validation_loss") if event.type == "metrics" else None
                score = None if loss is None else spec.objective.value(loss, event.data["metrics"])
                if score is not None:
                    heard.validations.append((event.data["step"], score))
        return heard.validations

    def _stop_all(self, sweep: Sweep, course: _Course) -> None:
        for number, trial in course.trials.items():
            if trial.is_over or trial.job is None or trial.stopped_early:
                continue
            if sweep.cancel_requested:
                self.queue.cancel(sweep.tenant, trial.job)
            else:
                self._sweeps.mark(trial, stop="budget")
                course.trials[number] = trial.model_copy(update={"stopped_early": "budget"})

    def _start_trials(self, sweep: Sweep, spec: SweepSpec, course: _Course) -> None:
        most, number = most_trials(spec), len(course.trials)
        num_open = sum(not trial.is_over for trial in course.trials.values())
        may_fuse = self.settings.fuse and spec.fuse == "auto"
        are_several = min(most - number, self._parallel(spec, number) - num_open) > 1
        with self._sweeps.filling(sweep) if are_several else nullcontext():
            while number < most and num_open < self._parallel(spec, number):
                trials = [course.trials[n] for n in range(number)]
                is_new_point = number % spec.replicates == 0
                parameters = (
                    next_point(spec, trials, number // spec.replicates) if is_new_point else trials[-1].parameters
                )
                if not self._start(sweep, spec, NewTrial(sweep.id, number, parameters, may_fuse)):
                    return
                (course.trials[number],) = self._sweeps.trials(sweep, [number])
                num_open += not course.trials[number].is_over
                number += 1

    def _parallel(self, spec: SweepSpec, number: int) -> int:
        """Unfinished trials there may be at once when trial `number` is started."""
        if spec.max_parallel:
            return spec.max_parallel
        fused = most_fused(spec.spec) if keeps_key(spec.spec, spec.parameters) else 1
        if not self.settings.fuse or spec.fuse == "never":
            fused = 1
        elif learns(spec, number // spec.replicates):
            fused = min(fused, spec.replicates)  # a search that learns shall have something to learn from
        return self._num_seats() * fused

    def _start(self, sweep: Sweep, spec: SweepSpec, trial: NewTrial) -> bool:
        """Whether there is such a trial now. One whose values make no job is kept as a failed one."""
        try:
            job = trial_spec(spec, trial.parameters, number=trial.number)
            submit(job, self, sweep.tenant, trial=trial)
        except ValidationError as error:
            refused = JobError(type="invalid_input", message=fault_of_spec(error))
            self._sweeps.refuse(sweep, trial.number, trial.parameters, refused)
        except UnrollError as error:
            if fault_of(error).retriable or isinstance(error, Conflict):
                log.warning("%s: trial %d waits: %s", sweep.id, trial.number, error)
                return False
            refused = JobError.model_validate(job_error(error)[0])
            self._sweeps.refuse(sweep, trial.number, trial.parameters, refused)
        return True

    def _num_seats(self) -> int:
        capacity = self.queue.capacity()
        return max(1, capacity.seats.cpu + capacity.seats.gpu, capacity.most) if capacity else 1

    def _end(self, sweep: Sweep, spec: SweepSpec, trials: Sequence[Trial]) -> None:
        best = best_trial(sweep, trials)
        if sweep.cancel_requested:
            self._sweeps.end(sweep.id, "cancelled")
        elif best is None:
            faults = [trial.error.message for trial in trials if trial.error]
            self._sweeps.end(sweep.id, "failed", error=f"no trial has a score: {faults[-1] if faults else 'none ran'}")
        else:
            warning = self._promote(sweep, spec, best) if spec.promote_to else ""
            self._sweeps.end(sweep.id, "succeeded", warning=warning)
        log.info("%s ended with %d trials", sweep.id, len(trials))

    def _promote(self, sweep: Sweep, spec: SweepSpec, best: Trial) -> str:
        """Lets the alias stand for the best model; answers why it does not."""
        try:
            self.queue.aliases.put(sweep.tenant, spec.promote_to or "", best.job or "")
        except (NotFound, Conflict) as error:
            return f"{best.job} could not be promoted to {spec.promote_to}: {error}"
        return ""


def _may_be_judged(trial: Trial, halving: SuccessiveHalving) -> bool:
    return trial.job is not None and not trial.stopped_early and trial.step >= halving.rung_step(len(trial.rungs))


def _is_used_up(sweep: Sweep, spec: SweepSpec, course: _Course) -> bool:
    budget, used = spec.budget, sum(trial.worker_seconds for trial in course.trials.values())
    is_late = budget.max_seconds is not None and time.time() >= sweep.created_at + budget.max_seconds
    return is_late or (budget.max_worker_seconds is not None and used >= budget.max_worker_seconds)
