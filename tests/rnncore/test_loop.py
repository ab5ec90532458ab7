"""Limits, cadence and exact resume around the optimizer steps. An epoch of the text is 4 windows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rnncore.checkpoint import restore_network
from rnncore.continuation import continuation
from rnncore.errors import NonFiniteLoss
from rnncore.evaluation import evaluate
from rnncore.loop import Replay
from rnncore.sampling import SamplingParameters
from rnncore.spec import Cell, JobSpec
from rnncore.stepper import Stepper
from rnncore.text import TextData

MakeSpec = Callable[..., JobSpec]
Train = Callable[..., Any]

# Neither validation nor epoch ends with every checkpoint.
DROPPING = {"dropout": 0.25, "validate_every_steps": 3, "checkpoint_every_steps": 1, "learning_rate": 0.05}


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    train: Train, make_spec: MakeSpec, data: TextData, cell: Cell, precision: str
) -> None:
    spec = make_spec(cell=cell, precision=precision, max_steps=10, **DROPPING)
    whole = train(spec, data)
    first = train(spec, data, stop_before=6)
    torch.manual_seed(99)
    second = train(spec, data, resume=first.snapshot(5))
    assert second.points == [
        point._replace(
            training_seconds=p.training_seconds,
            characters_per_second=p.characters_per_second,
            eta_seconds=p.eta_seconds,
        )
        for point, p in zip(whole.points[5:], second.points, strict=True)
    ]
    for step in (5, 6, 10):
        ours, theirs = (first if step == 5 else second).snapshot(step).manifest, whole.snapshot(step).manifest
        assert ours.parameters_sha256 == theirs.parameters_sha256
        assert ours.files == theirs.files  # optimizer, hidden state and random numbers too
        assert ours.validation_loss == theirs.validation_loss


@pytest.mark.parametrize("stride", [None, 3])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 8])
def test_run_may_be_resumed_from_any_step_of_an_epoch(
    train: Train, make_spec: MakeSpec, data: TextData, step: int, stride: int | None
) -> None:
    spec = make_spec(max_steps=9, tbptt_stride=stride, **DROPPING)
    whole = train(spec, data)
    resumed = train(spec, data, resume=whole.snapshot(step))
    assert resumed.snapshot(9).manifest.files == whole.snapshot(9).manifest.files


@pytest.mark.parametrize("step", [1, 5, 9])
def test_suspended_run_has_a_checkpoint_of_that_very_step_and_goes_on_exactly(
    train: Train, make_spec: MakeSpec, data: TextData, step: int
) -> None:
    spec = make_spec(max_steps=10, **DROPPING | {"checkpoint_every_steps": 100})
    whole = train(spec, data)
    first = train(spec, data, suspend_after=step)
    assert first.was_stopped
    assert first.points[-1].step == step
    assert first.snapshot(step).manifest.progress.step == step
    second = train(spec, data, resume=first.snapshot(step))
    assert second.snapshot(10).manifest.files == whole.snapshot(10).manifest.files


def test_run_that_is_over_is_not_suspended(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    assert not train(make_spec(max_steps=3), data, suspend_after=3).was_stopped


def test_resume_of_a_finished_run_does_nothing(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    spec = make_spec(max_steps=3)
    again = train(spec, data, resume=train(spec, data).snapshot(3))
    assert (again.points, again.samples) == ([], {})


def test_seconds_and_schedule_of_a_timed_run_survive_a_resume(
    train: Train, make_spec: MakeSpec, data: TextData
) -> None:
    spec = make_spec(max_steps=None, max_seconds=1000.0, checkpoint_every_steps=4)
    first = train(spec, data, stop_before=5)
    stored = first.snapshot(4)
    second = train(spec, data, stop_before=5, resume=stored)
    seconds = [point.training_seconds for point in first.points + second.points]
    assert stored.manifest.progress.training_seconds == seconds[3]
    assert seconds == sorted(seconds)
    assert len(seconds) == 8
    assert second.snapshot(8).training["schedule.progress"].tolist() == [0.0, *(s / 1000.0 for s in seconds[:7])]


def test_timed_run_is_replayed_step_by_step(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    spec = make_spec(max_steps=None, max_seconds=0.05, checkpoint_every_steps=1, dropout=0.25)
    timed = train(spec, data)
    steps = timed.points[-1].step
    ratios = timed.snapshot(steps).training["schedule.progress"].tolist()
    again = train(spec, data, replay=Replay(steps, ratios))
    assert again.points[-1].step == steps
    assert [point.learning_rate for point in again.points] == [point.learning_rate for point in timed.points]
    assert again.snapshot(steps).manifest.parameters_sha256 == timed.snapshot(steps).manifest.parameters_sha256


def test_replayed_run_ends_where_the_other_ended_however_fast(
    train: Train, make_spec: MakeSpec, data: TextData
) -> None:
    spec = make_spec(max_steps=None, max_seconds=1000.0)
    run = train(spec, data, replay=Replay(3, [0.0, 0.25, 0.75]))
    peak = spec.train.learning_rate
    assert [point.learning_rate for point in run.points] == pytest.approx(
        [peak * warm * (0.01 + 0.99 * fall) for warm, fall in ((1 / 3, 1.0), (2 / 3, 0.853553), (1.0, 0.146447))],
        rel=1e-4,
    )


def test_untimed_run_keeps_no_schedule(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    assert train(make_spec(), data).snapshot(8).training["schedule.progress"].tolist() == []


@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        ({"max_steps": 6}, 6),
        ({"max_steps": None, "max_epochs": 2}, 8),
        ({"max_steps": None, "max_seconds": 1e-9}, 1),
        ({"max_steps": 6, "max_epochs": 1, "max_seconds": 1000.0}, 4),
        ({"max_steps": 3, "max_epochs": 1}, 3),
    ],
)
def test_first_limit_reached_ends_the_run(
    train: Train, make_spec: MakeSpec, data: TextData, limits: dict[str, Any], steps: int
) -> None:
    run = train(make_spec(**limits), data)
    assert [point.step for point in run.points] == list(range(1, steps + 1))
    assert run.points[-1].ratio == 1.0
    assert run.points[-1].eta_seconds == 0.0
    assert list(run.samples) == [steps]


def test_characters_count_every_target_once_an_epoch(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    run = train(make_spec(max_steps=6), data)
    assert [point.characters for point in run.points] == [15, 30, 45, 51, 66, 81]
    assert run.snapshot(6).manifest.progress.window == 6


def test_validation_changes_nothing_about_training(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    often, seldom = (
        train(make_spec(max_steps=10, dropout=0.25, validate_every_steps=every), data) for every in (2, 1000)
    )
    assert [point.train_loss for point in often.points] == [point.train_loss for point in seldom.points]
    assert often.snapshot(10).manifest.files == seldom.snapshot(10).manifest.files


def test_validation_comes_at_its_cadence_and_at_the_end(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    run = train(make_spec(max_steps=8, validate_every_steps=3), data)
    assert [point.step for point in run.points if point.validation_loss is not None] == [3, 6, 8]
    assert run.points[-1].validation_loss == run.snapshot(8).manifest.validation_loss
    assert run.points[-1].validation_loss == evaluate(restore_network(run.snapshot(8)), data.validation)


def test_checkpoints_come_at_their_cadence_and_at_the_end(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    run = train(make_spec(max_steps=8, validate_every_steps=6, checkpoint_every_steps=3), data)
    assert {step: run.snapshot(step).manifest.validation_loss is not None for step in run.samples} == {
        3: False,
        6: True,
        8: True,
    }


def test_every_best_model_is_kept_however_seldom_checkpoints_come(
    train: Train, make_spec: MakeSpec, data: TextData
) -> None:
    spec = make_spec(max_steps=60, learning_rate=0.01, validate_every_steps=2, checkpoint_every_steps=1000)
    run = train(spec, data)
    losses = {point.step: point.validation_loss for point in run.points if point.validation_loss is not None}
    records = [step for step in losses if losses[step] == min(losses[s] for s in losses if s <= step)]
    assert run.best_steps == records
    assert list(run.samples) == sorted({*records, 60})


def test_best_checkpoint_is_that_of_the_least_validation_loss(
    train: Train, make_spec: MakeSpec, data: TextData
) -> None:
    run = train(make_spec(max_steps=60, learning_rate=0.01, validate_every_steps=2, checkpoint_every_steps=2), data)
    losses = {point.step: point.validation_loss for point in run.points if point.validation_loss is not None}
    records = [step for step in losses if losses[step] == min(losses[s] for s in losses if s <= step)]
    assert run.best_steps == records
    progress = run.snapshot(60).manifest.progress
    assert (progress.best_step, progress.best_validation_loss) == (records[-1], losses[records[-1]])
    assert progress.validations_without_improvement == 30 - records[-1] // 2
    assert 1 < len(records) < 30  # the random text is learnt by heart: it gets better, then worse


def test_patience_ends_a_run_that_does_not_improve(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    spec = make_spec(
        max_steps=100, learning_rate=1e-30, weight_decay=0.0, validate_every_steps=2, early_stop_patience=3
    )
    run = train(spec, data)
    assert run.points[-1].step == 8  # the first validation is an improvement, the next three are not
    assert list(run.samples) == [2, 8]
    assert train(spec, data, resume=run.snapshot(8)).points == []


def test_points_beyond_the_tenth_step_are_means_over_ten(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    ids = TextData(data.vocabulary, data.training[:46], data.validation)  # all windows equally long
    spec = make_spec(max_steps=30, validate_every_steps=1000)
    run, each = (
        train(spec, ids),
        train(spec.model_copy(update={"train": spec.train.model_copy(update={"validate_every_steps": 1})}), ids),
    )
    assert [point.step for point in run.points] == [*range(1, 11), 20, 30]
    assert run.points[-1].train_loss == pytest.approx(np.mean([p.train_loss for p in each.points[20:]]), rel=1e-6)


def test_samples_continue_the_prompts_asked_for(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    run = train(make_spec(max_steps=3, sample_prompts=("abc", "k")), data)
    stepper = Stepper(restore_network(run.snapshot(3)))
    parameters = SamplingParameters(temperature=0.7, max_tokens=160, seed=3)
    for sample, prompt in zip(run.samples[3], ("abc", "k"), strict=True):
        ids = data.vocabulary.encode(prompt).tolist()
        assert sample.prompt == prompt
        assert sample.text == continuation(stepper, data.vocabulary, ids, parameters)
        assert len(sample.text) == 160


def test_sample_starts_with_the_validation_part_unless_asked(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    (sample,) = train(make_spec(max_steps=1), data).samples[1]
    assert sample.prompt == data.vocabulary.decode(data.validation.tolist())


def test_loss_that_is_no_number_ends_the_run(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    snapshot = train(make_spec(max_steps=1), data).snapshot(1)
    broken = {name: tensor.fill_(float("nan")) for name, tensor in snapshot.weights.items()}
    with pytest.raises(NonFiniteLoss, match="training loss is nan at step 1") as caught:
        train(make_spec(), data, initial=snapshot._replace(weights=broken))
    assert caught.value.param == "train.learning_rate"
    assert caught.value.hint is not None


def test_gradient_that_is_no_number_ends_the_run(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    snapshot = train(make_spec(max_steps=1), data).snapshot(1)
    steep = snapshot.weights | {"output.weight": snapshot.weights["output.weight"] * 1e25}
    with pytest.raises(NonFiniteLoss, match="gradient norm is inf at step 1"):
        train(make_spec(checkpoint_every_steps=1), data, initial=snapshot._replace(weights=steep))


def test_observer_may_stop_the_run_before_any_step(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    run = train(make_spec(), data, stop_before=3)
    assert [point.step for point in run.points] == [1, 2]
    assert run.samples == {}


def test_points_tell_how_many_gradients_were_clipped(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    unclipped = train(make_spec(max_steps=8, gradient_clip_norm=None), data).points
    assert [point.clipped_steps for point in unclipped] == [0] * 8
    limit = sorted(point.gradient_norm for point in unclipped)[3]
    points = train(make_spec(max_steps=8, gradient_clip_norm=limit), data).points
    assert [point.clipped_steps for point in points] == [int(point.gradient_norm > limit) for point in points]
    assert 0 < sum(point.clipped_steps for point in points) < 8


def test_clipped_steps_of_a_point_are_those_since_the_one_before(
    train: Train, make_spec: MakeSpec, data: TextData
) -> None:
    points = train(make_spec(max_steps=20, gradient_clip_norm=1e-6, validate_every_steps=100), data).points
    assert [(point.step, point.clipped_steps) for point in points[-2:]] == [(10, 1), (20, 10)]
