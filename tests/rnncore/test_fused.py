"""Trials side by side: each one as its separate run, and none harmed by what happens to another."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnncore import fused
from rnncore.checkpoint import Snapshot
from rnncore.errors import Cancelled, InvalidInput, NonFiniteLoss, Suspended
from rnncore.fit import Job
from rnncore.fusable import fusable
from rnncore.fused import Trial, fit_fused
from rnncore.spec import JobSpec
from rnncore.text import TextData
from rnncore.vocabulary import Vocabulary
from tests.rnncore.conftest import Recorder

MakeSpec = Callable[..., JobSpec]
Train = Callable[..., Recorder]
TrainFused = Callable[..., tuple[list[Recorder], list[Exception | None]]]

# What trials may differ in, all of it at once.
DIFFERENT: tuple[dict[str, Any], ...] = (
    {"seed": 1, "learning_rate": 0.02, "dropout": 0.25},
    {"seed": 2, "learning_rate": 0.01, "schedule": "constant", "weight_decay": 0.5, "gradient_clip_norm": 0.1},
    {"seed": 3, "warmup_steps": 9, "dropout": 0.4, "gradient_clip_norm": None, "validate_every_steps": 7},
)
CADENCE = {"validate_every_steps": 100, "checkpoint_every_steps": 10}


@pytest.fixture
def train_fused(tmp_path: Path) -> TrainFused:
    """Runs fit_fused() and returns what each observer saw, and what ended it."""
    runs = iter(range(1000))

    def run(
        specs: Sequence[JobSpec], data: TextData, **each: dict[int, Any]
    ) -> tuple[list[Recorder], list[Exception | None]]:
        def of(number: int, what: str) -> Any:
            return each.get(what, {}).get(number)

        recorders = [
            Recorder(tmp_path / f"fused-{next(runs)}", of(i, "stop_before"), of(i, "suspend_after"))
            for i in range(len(specs))
        ]
        trials = [
            Trial(Job("job-of-the-tests", 1, spec), recorder, of(i, "resume"), of(i, "initial"))
            for i, (spec, recorder) in enumerate(zip(specs, recorders, strict=True))
        ]
        return recorders, fit_fused(trials, data)

    return run


def assert_equal_runs(ours: Recorder, theirs: Recorder, last: int) -> None:
    """To rounding: points, and weights and moments at step `last`."""
    # Those of the first ten steps and of validations; when others come depends on the clock, and so do their means.
    for a, b in zip(ours.points[:10], theirs.points[:10], strict=True):
        assert (a.step, a.characters, a.learning_rate, a.ratio) == (b.step, b.characters, b.learning_rate, b.ratio)
        assert (a.train_loss, a.gradient_norm) == pytest.approx((b.train_loss, b.gradient_norm), abs=1e-5)
    assert validations(ours) == {step: pytest.approx(loss, abs=1e-5) for step, loss in validations(theirs).items()}
    assert ours.points[-1].step == theirs.points[-1].step
    assert ours.best_steps == theirs.best_steps
    assert ours.samples.keys() == theirs.samples.keys()
    a, b = ours.snapshot(last), theirs.snapshot(last)
    assert_close(a.weights, b.weights)
    assert_close(a.training, b.training)


def validations(recorder: Recorder) -> dict[int, float]:
    return {point.step: point.validation_loss for point in recorder.points if point.validation_loss is not None}


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=2e-5, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize(
    "shape",
    [
        {"cell": "rnn", "num_layers": 1},
        {"cell": "rnn", "num_layers": 2},
        {"cell": "lstm", "num_layers": 1, "hidden_size": 4, "tie_weights": True},
        {"cell": "lstm", "num_layers": 2},
        {"cell": "gru", "num_layers": 1, "tbptt_stride": 3},
        {"cell": "gru", "num_layers": 2},
        {"cell": "gru", "num_layers": 2, "reset_after": False, "batch_size": 1},
    ],
)
def test_each_trial_equals_its_separate_run(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData, shape: dict[str, Any]
) -> None:
    specs = [make_spec(max_steps=20, **{**CADENCE, **shape, **different}) for different in DIFFERENT]
    fused, errors = train_fused(specs, data)
    assert errors == [None, None, None]
    for spec, recorder in zip(specs, fused, strict=True):
        assert_equal_runs(recorder, train(spec, data), 20)


@pytest.mark.parametrize("shape", [("rnn", 1), ("lstm", 2), ("gru", 1)])
def test_trials_score_as_their_separate_runs_over_hundreds_of_steps(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData, shape: tuple[str, int]
) -> None:
    cell, num_layers = shape
    often = {"validate_every_steps": 20, "checkpoint_every_steps": 1000, "max_steps": 200}
    specs = [make_spec(cell=cell, num_layers=num_layers, **{**different, **often}) for different in DIFFERENT[:2]]
    fused, _ = train_fused(specs, data)
    for spec, recorder in zip(specs, fused, strict=True):
        ours, theirs = validations(recorder), validations(train(spec, data))
        assert [*ours] == list(range(20, 201, 20))
        # Measured: 2e-6 at most, a few roundings of a loss of about 2.4 in fp32. The seed or rate of another trial, or
        # a step more, moves the loss by far more.
        assert ours == {step: pytest.approx(loss, abs=1e-5) for step, loss in theirs.items()}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_documents_begin_afresh_in_every_trial(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, cell: str
) -> None:
    vocabulary = Vocabulary(kind="characters", symbols="\fbcdefghijk")
    ids = np.random.default_rng(7).integers(0, 11, size=82).astype(np.uint8)
    documents = TextData(vocabulary, ids[:53], ids[53:])
    specs = [make_spec(max_steps=10, cell=cell, tbptt_stride=3, **different) for different in DIFFERENT[:2]]
    fused, _ = train_fused(specs, documents)
    for spec, recorder in zip(specs, fused, strict=True):
        assert_equal_runs(recorder, train(spec, documents), 10)


def test_trial_starts_from_weights_of_its_own(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData
) -> None:
    initial = train(make_spec(max_steps=5, seed=9, learning_rate=0.1), data).snapshot(5)
    specs = [make_spec(max_steps=6), make_spec(max_steps=6)]
    fused, _ = train_fused(specs, data, initial={1: initial})
    assert_equal_runs(fused[0], train(specs[0], data), 6)
    assert_equal_runs(fused[1], train(specs[1], data, initial=initial), 6)


def broken(snapshot: Snapshot) -> Snapshot:
    return snapshot._replace(weights={name: t * float("nan") for name, t in snapshot.weights.items()})


def test_end_of_one_trial_leaves_the_others_bit_for_bit_as_they_were(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData
) -> None:
    specs = [
        make_spec(max_steps=12, seed=i, hidden_size=16, batch_size=2, dropout=0.25, checkpoint_every_steps=4)
        for i in range(5)
    ]
    specs[3] = specs[3].model_copy(update={"train": specs[3].train.model_copy(update={"max_steps": 5})})
    whole, _ = train_fused(specs, data)
    nan = broken(whole[0].snapshot(4))
    some, errors = train_fused(specs, data, stop_before={1: 8}, suspend_after={2: 6}, initial={0: nan})
    assert [type(error) for error in errors] == [NonFiniteLoss, Cancelled, Suspended, type(None), type(None)]
    assert [recorder.points[-1].step for recorder in some[1:]] == [7, 6, 5, 12]
    assert list(some[2].samples) == [4, 6]
    for i, last in ((1, 4), (2, 4), (3, 5), (4, 12)):
        assert some[i].snapshot(last).manifest.files == whole[i].snapshot(last).manifest.files
    assert errors[0] is not None
    assert "training loss is nan at step 1" in str(errors[0])


def test_fault_of_one_observer_is_handed_back_and_ends_that_trial_alone(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData
) -> None:
    spec = make_spec(max_steps=6, checkpoint_every_steps=3)
    alone = train(spec, data)
    (first, second), _ = train_fused([spec, spec], data)
    del first
    second.folder(3).rename(second.folder(99))
    trials = [Trial(Job("a", 1, spec), second), Trial(Job("b", 1, spec), alone)]
    alone.folder(3).rename(alone.folder(98))
    alone.folder(6).rename(alone.folder(97))
    errors = fit_fused(trials, data)
    assert isinstance(errors[0], FileExistsError)
    assert errors[1] is None


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_checkpoint_of_a_fused_trial_is_resumed_alone_and_fused_again(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData, cell: str
) -> None:
    specs = [make_spec(max_steps=20, cell=cell, **{**CADENCE, **different}) for different in DIFFERENT]
    whole, _ = train_fused(specs, data)
    for i in (0, 1):
        alone = train(specs[i], data, resume=whole[i].snapshot(10))
        assert_close(alone.snapshot(20).weights, whole[i].snapshot(20).weights)
        assert alone.snapshot(20).manifest.environment == whole[i].snapshot(20).manifest.environment
    again, _ = train_fused(specs, data, resume={i: whole[i].snapshot(10) for i in range(3)})
    for ours, theirs in zip(again, whole, strict=True):
        assert ours.snapshot(20).manifest.files == theirs.snapshot(20).manifest.files


def test_trials_at_different_steps_go_on_together(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData
) -> None:
    specs = [
        make_spec(max_steps=12, checkpoint_every_steps=7, **{**different, "validate_every_steps": 5})
        for different in DIFFERENT
    ]
    whole = [train(spec, data) for spec in specs]
    early = whole[0].snapshot(7)
    of_eight = early.manifest.model_copy(update={"environment": {**early.manifest.environment, "fused": 8}})
    resume = {0: early._replace(manifest=of_eight), 1: whole[1].snapshot(12)}
    resumed, _ = train_fused(specs, data, resume=resume)
    assert [point.step for point in resumed[0].points][:3] == [8, 9, 10]
    assert resumed[1].points == []
    assert_close(resumed[0].snapshot(12).training, whole[0].snapshot(12).training)
    assert_equal_runs(resumed[2], whole[2], 12)
    assert resumed[0].snapshot(12).manifest.environment["fused"] == "8, then 3"


def test_patience_and_epochs_end_a_trial_as_they_do_alone(
    train: Train, train_fused: TrainFused, make_spec: MakeSpec, data: TextData
) -> None:
    still = {"learning_rate": 1e-30, "weight_decay": 0.0, "validate_every_steps": 2, "early_stop_patience": 3}
    specs = [make_spec(max_steps=100, **still), make_spec(max_steps=None, max_epochs=3)]
    (patient, whole), errors = train_fused(specs, data)
    assert errors == [None, None]
    assert (patient.points[-1].step, whole.points[-1].step) == (8, 12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": 8}, "model.hidden_size is 7 in one and 8 in another"),
        ({"tbptt_steps": 6, "tbptt_stride": 5}, "train.tbptt_steps is 5 in one and 6 in another"),
        ({"batch_size": 4}, "train.batch_size is 3 in one and 4 in another"),
        ({"precision": "bf16-mixed"}, "train.precision is bf16-mixed; only fp32 can"),
        ({"max_seconds": 5.0}, "train.max_seconds counts the seconds of one job alone"),
    ],
)
def test_jobs_that_cannot_share_a_program_are_refused_by_field(
    make_spec: MakeSpec, data: TextData, changes: dict[str, Any], reason: str
) -> None:
    specs = [make_spec(), make_spec(**changes)]
    why = fusable(specs)
    assert why is not None
    assert why.startswith(reason)
    with pytest.raises(InvalidInput, match=reason[:20]):
        fit_fused([Trial(Job("job", 1, spec), Recorder(Path(), None, None)) for spec in specs], data)


def test_precision_that_is_bf16_on_this_hardware_is_refused(
    make_spec: MakeSpec, data: TextData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "resolved_precision", lambda asked: ("bf16-mixed", None))
    trials = [Trial(Job("job", 1, make_spec(precision="auto")), Recorder(Path(), None, None))] * 2
    with pytest.raises(InvalidInput, match="auto, which is bf16-mixed on this hardware"):
        fit_fused(trials, data)


def test_end_of_a_trial_is_told_while_the_others_go_on(make_spec: MakeSpec, data: TextData, tmp_path: Path) -> None:
    ends: list[tuple[str, int, str]] = []
    recorders = [Recorder(tmp_path / name, None, suspend_after) for name, suspend_after in (("a", 4), ("b", None))]

    def told_as(name: str) -> Callable[[Exception | None], None]:
        return lambda error: ends.append((name, len(recorders[1].points), type(error).__name__))

    fit_fused(
        [
            Trial(Job(name, 1, make_spec(max_steps=9)), recorder, ended=told_as(name))
            for name, recorder in zip("ab", recorders, strict=True)
        ],
        data,
    )
    assert ends == [("a", 4, "Suspended"), ("b", 9, "NoneType")]
