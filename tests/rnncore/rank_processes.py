"""Runs fit() as the ranks of one job, each in a process of its own on one thread of a CPU, over gloo."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed

from rnncore.checkpoint import Snapshot, load_checkpoint
from rnncore.fit import Job, fit
from rnncore.loop import Point, Replay
from rnncore.ranks import Ranks
from rnncore.spec import JobSpec
from tests.rnncore.conftest import SECRET, Recorder

_SECONDS = 200.0  # a hang is longer, and no machine so busy
# Forks of one process that has imported all of it: torch and Lightning take seconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["pytorch_lightning.trainer.trainer", "rnncore.fit"])


class Wishes(NamedTuple):
    """What befalls one rank at its n-th step, counted from 1 in this run; what its observer raises there included."""

    stop_before: int | None = None
    die_before: int | None = None
    suspend_after: int | None = None
    fail_at_checkpoint: bool = False


class Outcome(NamedTuple):
    """How one rank ended: with which exception, if any, before which step, and what its observer was told."""

    error: str | None
    asked: int
    points: list[Point]
    told: int


class RanksRun(NamedTuple):
    """Of each rank how it ended, None if it was killed; and the checkpoints, which rank 0 wrote."""

    outcomes: list[Outcome | None]
    folder: Path

    @property
    def points(self) -> list[Point]:
        assert self.outcomes[0], "rank 0 was killed"
        return self.outcomes[0].points

    @property
    def errors(self) -> list[str | None]:
        return [outcome.error if outcome else "killed" for outcome in self.outcomes]

    def checkpoint(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def snapshot(self, step: int) -> Snapshot:
        return load_checkpoint(self.checkpoint(step), SECRET)


def train_ranks(
    size: int,
    spec: JobSpec,
    data: Any,
    folder: Path,
    *,
    wishes: Mapping[int, Wishes] | None = None,
    **starting: Any,
) -> RanksRun:
    """Trains on `size` ranks until all have ended. `resume` and `initial` are folders of checkpoints."""
    run = Path(tempfile.mkdtemp(dir=folder))
    answers: list[Connection] = []
    processes = []
    for rank in range(size):
        ours, theirs = _PROCESSES.Pipe(duplex=False)
        wish = (wishes or {}).get(rank, Wishes())
        process = _PROCESSES.Process(target=_train, args=(theirs, run, rank, size, spec, data, wish, starting))
        process.start()
        theirs.close()
        answers.append(ours)
        processes.append(process)
    try:
        return RanksRun([_answer(answer) for answer in answers], run)
    finally:
        _end(processes)


def _answer(answer: Connection) -> Outcome | None:
    assert answer.poll(_SECONDS), "a rank neither ends nor fails"
    try:
        outcome: Outcome = answer.recv()
    except EOFError:
        return None
    return outcome


def _end(processes: Sequence[Any]) -> None:
    for process in processes:
        process.join(_SECONDS)
        process.kill()
        process.join()
        process.close()


class _RankRecorder(Recorder):
    """An observer to which the wishes happen."""

    def __init__(self, folder: Path, wishes: Wishes) -> None:
        super().__init__(folder, wishes.stop_before, wishes.suspend_after)
        self._wishes = wishes
        self.told = 0

    @property
    def asked(self) -> int:
        return self._started

    def before_step(self) -> None:
        if self._started + 1 == self._wishes.die_before:
            os.kill(os.getpid(), signal.SIGKILL)
        super().before_step()

    def after_point(self, point: Point) -> None:
        self.told += 1
        super().after_point(point)

    def after_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self.told += 1
        if self._wishes.fail_at_checkpoint:
            raise OSError("no checkpoint today")
        super().after_checkpoint(*args, **kwargs)


def _train(
    answer: Connection,
    run: Path,
    rank: int,
    size: int,
    spec: JobSpec,
    data: Any,
    wishes: Wishes,
    starting: Mapping[str, Path | Replay],
) -> None:
    torch.cuda.is_available = lambda: False
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{run / 'store'}", rank=rank, world_size=size, timeout=timedelta(seconds=_SECONDS)
    )
    recorder, error = _RankRecorder(run, wishes), None
    given = {
        name: load_checkpoint(value, SECRET) if isinstance(value, Path) else value for name, value in starting.items()
    }
    try:
        fit(Job("job-of-the-tests", 1, spec), data, recorder, ranks=Ranks.of_process_group(), **given)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    distributed.destroy_process_group()
    answer.send(Outcome(error, recorder.asked, recorder.points, recorder.told))
    answer.close()
