"""What the tests of training share: a small text, a small job, and an observer that keeps what it is shown.

Sizes are all different: B 3, E 4, T 5, H 7, V 11, L 2.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnncore.checkpoint import Snapshot, load_checkpoint, save_checkpoint
from rnncore.errors import Cancelled, Stopped
from rnncore.fit import Job, fit
from rnncore.loop import Point, Sample
from rnncore.network import RecurrentNetwork
from rnncore.spec import JobSpec, ModelSpec, TrainSpec
from rnncore.text import TextData
from rnncore.vocabulary import Vocabulary

SECRET = b"secret of the tests"
VOCABULARY = Vocabulary(kind="characters", symbols="abcdefghijk")


class Recorder:
    """An observer that keeps points, samples and, on disk, checkpoints; it stops the run before step `stop_before`.

    After its step `suspend_after` it wants the run to go on another time.
    """

    def __init__(self, folder: Path, stop_before: int | None, suspend_after: int | None) -> None:
        self.points: list[Point] = []
        self.warnings: list[str] = []
        self.samples: dict[int, list[Sample]] = {}
        self.best_steps: list[int] = []
        self._folder = folder
        self._stop_before = stop_before
        self._suspend_after = suspend_after
        self._started = 0
        self.was_stopped = False

    def wants_suspension(self) -> bool:
        return self._started == self._suspend_after

    def before_step(self) -> None:
        self._started += 1
        if self._started == self._stop_before:
            raise Cancelled("told to stop")

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def after_point(self, point: Point) -> None:
        self.points.append(point)

    def after_checkpoint(self, snapshot: Snapshot, samples: list[Sample], *, is_best: bool) -> None:
        step = snapshot.manifest.progress.step
        self.samples[step] = samples
        if is_best:
            self.best_steps.append(step)
        save_checkpoint(self.folder(step), snapshot, SECRET)

    def folder(self, step: int) -> Path:
        return self._folder / f"step-{step}"

    def snapshot(self, step: int) -> Snapshot:
        return load_checkpoint(self.folder(step), SECRET)


@pytest.fixture(autouse=True)
def _one_thread_of_one_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Exactness is promised for CPUs. fit() switches denormal numbers off for the whole process: they come back."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def data() -> TextData:
    """Random symbols. An epoch is 4 windows of 3 streams: 5, 5, 5 and 2 symbols; the last symbol is left over."""
    ids = np.random.default_rng(5).integers(0, 11, size=53 + 29).astype(np.uint8)
    return TextData(VOCABULARY, ids[:53], ids[53:])


@pytest.fixture
def make_spec() -> Callable[..., JobSpec]:
    """A JobSpec of small sizes; keywords change fields of its model or train section."""

    def make(**changes: Any) -> JobSpec:
        model = {"cell": "lstm", "hidden_size": 7, "num_layers": 2, "embedding_size": 4, "dropout": 0.0}
        train = {"batch_size": 3, "tbptt_steps": 5, "max_steps": 8, "precision": "fp32", "warmup_steps": 3}
        for name, value in changes.items():
            (model if name in ModelSpec.model_fields else train)[name] = value
        return JobSpec(
            dataset="ds-" + "0" * 32, model=ModelSpec.model_validate(model), train=TrainSpec.model_validate(train)
        )

    return make


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Recorder]:
    """Runs fit() and returns what its observer saw; `stop_before=n` stops it before the n-th step of this run."""
    runs = iter(range(1000))

    def run(
        spec: JobSpec,
        data: TextData,
        *,
        stop_before: int | None = None,
        suspend_after: int | None = None,
        **starting: Any,
    ) -> Recorder:
        recorder = Recorder(tmp_path / f"run-{next(runs)}", stop_before, suspend_after)
        job = Job("job-of-the-tests", 1, spec)
        try:
            fit(job, data, recorder, **starting)
        except Stopped:
            recorder.was_stopped = True
        if stop_before is not None:
            assert recorder.was_stopped
        return recorder

    return run


@pytest.fixture
def make_network() -> Callable[..., RecurrentNetwork]:
    """A network of V 11 symbols with weights of its own, the same for the same fields; in evaluation mode."""

    def make(**changes: Any) -> RecurrentNetwork:
        fields = {"cell": "lstm", "hidden_size": 7, "num_layers": 2, "embedding_size": 4, "dropout": 0.0} | changes
        torch.manual_seed(3)
        network = RecurrentNetwork(ModelSpec.model_validate(fields), vocabulary_size=11)
        with torch.no_grad():  # biases too, which start at zero
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
        return network.eval()

    return make
