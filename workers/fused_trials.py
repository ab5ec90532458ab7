"""Claimed trials that one process trains as one program. Each keeps its lease, its reports and its end to itself.

Knows no Ray.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Literal

import structlog

from rnncore.fit import Job
from rnncore.fused import Trial, fit_fused
from services.jobqueue import claims
from services.jobqueue.claims import SignOfLife
from services.jobqueue.records import Claim
from workers.claimed_run import ClaimedRun, Rooms
from workers.inputs import Inputs

log = logging.getLogger(__name__)

FitAlone = Callable[[ClaimedRun, Inputs], None]


class FusedTrials:
    """What became of each trial is in `ends`, a word for each claim.

    released: it goes on from another step than the first one, so that another worker takes it. broken: the program
    failed as a whole, which tells nothing of this trial; as after the loss of a worker it is trained alone next time.
    """

    def __init__(self, claimed: Iterable[Claim], rooms: Rooms) -> None:
        sign_of_life = SignOfLife()
        self._scripts = rooms.scripts
        self._at_work = {claim.job: ClaimedRun(claim, rooms, sign_of_life) for claim in claimed}
        self.ends: dict[str, str] = {}

    def train(self, start: Literal["warm", "cold"], fit_alone: FitAlone) -> None:
        """Trains all of them; by `fit_alone` where only one is left before the first step. Raises no Exception."""
        for run in self._at_work.values():
            run.held.__enter__()
        try:
            ready = self._begin(start)
            if len(ready) == 1:
                self._train_alone(*ready[0], fit_alone)
            elif ready:
                self._train_together(ready)
        except Exception:
            log.exception("fused trials")
            for run in [*self._at_work.values()]:
                claims.lose(self._scripts, run.claim)
                self._leave(run, "broken")
        finally:
            for run in self._at_work.values():
                run.held.__exit__()

    def _begin(self, start: Literal["warm", "cold"]) -> list[tuple[ClaimedRun, Inputs]]:
        """Those that can begin together; the rest have left."""
        ready: list[tuple[ClaimedRun, Inputs]] = []
        for run in [*self._at_work.values()]:
            with _logged_as(run):
                try:
                    inputs = run.begin(start, data=ready[0][1].data if ready else None)
                except Exception as error:  # whatever it is, it is this trial's
                    self._end(run, error)
                    continue
                if ready and _stands_at(inputs) != _stands_at(ready[0][1]):
                    run.reporter.close()
                    claims.release(self._scripts, run.claim)
                    self._leave(run, "released")
                    continue
            ready.append((run, inputs))
        return ready

    def _train_alone(self, run: ClaimedRun, inputs: Inputs, fit_alone: FitAlone) -> None:
        with _logged_as(run):
            try:
                fit_alone(run, inputs)
            except Exception as error:
                self._end(run, error)
            else:
                self._end(run, None)

    def _train_together(self, ready: list[tuple[ClaimedRun, Inputs]]) -> None:
        ids = [run.claim.job for run, _ in ready]
        trials = []
        for run, inputs in ready:
            run.reporter.is_fused_with([job for job in ids if job != run.claim.job])
            job = Job(run.claim.job, run.claim.epoch, run.claim.spec)
            trials.append(Trial(job, run.reporter, inputs.resume, inputs.initial, self._ender(run)))
        fit_fused(trials, ready[0][1].text())

    def _ender(self, run: ClaimedRun) -> Callable[[Exception | None], None]:
        def end(error: Exception | None) -> None:
            with _logged_as(run):
                self._end(run, error)

        return end

    def _end(self, run: ClaimedRun, error: Exception | None) -> None:
        self._leave(run, run.end(error))

    def _leave(self, run: ClaimedRun, how: str) -> None:
        self.ends[run.claim.job] = how
        run.held.__exit__()
        del self._at_work[run.claim.job]


def _stands_at(inputs: Inputs) -> tuple[int, str] | None:
    """Step and precision that a trial goes on from."""
    if inputs.resume is None:
        return None
    return inputs.resume.manifest.progress.step, inputs.resume.manifest.precision


def _logged_as(run: ClaimedRun) -> AbstractContextManager[None]:
    return structlog.contextvars.bound_contextvars(job_id=run.claim.job, epoch=run.claim.epoch)
