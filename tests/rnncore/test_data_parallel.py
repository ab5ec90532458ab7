"""Several ranks train one job: the same losses as one alone, exact resume, and one end for all of them.

Sizes: B 12 in shares of 12, 6, 4 and 3 streams, E 4, T 5, H 7, V 11. An epoch is 4 windows: 5, 5, 5 and 2 symbols.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnncore.batches import ShuffledBatches
from rnncore.errors import InvalidInput
from rnncore.loop import Point, Replay
from rnncore.ranks import Ranks
from rnncore.spec import JobSpec
from rnncore.streams import Streams
from rnncore.text import TextData
from tests.rnncore.conftest import VOCABULARY
from tests.rnncore.rank_processes import RanksRun, Wishes, train_ranks
from tests.rnncore.test_tasks import DATA
from tests.rnncore.test_tasks import make_spec as make_task_spec

MakeSpec = Callable[..., JobSpec]
Train = Callable[..., Any]
TrainRanks = Callable[..., RanksRun]

WIDE = {"batch_size": 12, "checkpoint_every_steps": 1000, "validate_every_steps": 7, "learning_rate": 0.02}


@pytest.fixture
def wide() -> TextData:
    """12 streams of 17 symbols."""
    ids = np.random.default_rng(7).integers(0, 11, size=12 * 17 + 1 + 31).astype(np.uint8)
    return TextData(VOCABULARY, ids[:205], ids[205:])


@pytest.fixture
def train_many(tmp_path: Path) -> TrainRanks:
    """train_ranks() with a folder for its runs."""

    def run(size: int, spec: JobSpec, data: Any, **rest: Any) -> RanksRun:
        return train_ranks(size, spec, data, tmp_path, **rest)

    return run


def assert_equal_curves(ours: list[Point], theirs: list[Point]) -> None:
    """To 1e-5 in all that is a loss, exactly in what is counted. A slow run has more points than those due."""
    steps = sorted({point.step for point in ours} & {point.step for point in theirs})
    assert steps[:10] == list(range(1, min(10, len(steps)) + 1))
    assert {p.step for p in theirs if p.validation_loss is not None or p.step % 10 == 0} <= set(steps)
    assert losses_up_to(steps, ours) == pytest.approx(losses_up_to(steps, theirs), abs=1e-5)
    for one, other in zip(at(steps, ours), at(steps, theirs), strict=True):
        assert (one.characters, one.learning_rate, one.ratio) == (other.characters, other.learning_rate, other.ratio)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, abs=1e-5)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)
        assert one.metrics == pytest.approx(other.metrics, abs=1e-4)


def at(steps: list[int], points: list[Point]) -> list[Point]:
    return [point for point in points if point.step in steps]


def losses_up_to(steps: list[int], points: list[Point]) -> list[float]:
    """The mean training loss between each of these steps and the one before."""
    means, total, since, before = [], 0.0, 0, 0
    for point in points:
        total += point.train_loss * (point.characters - before)
        before = point.characters
        if point.step in steps:
            means.append(total / (before - since))
            total, since = 0.0, before
    return means


@pytest.mark.parametrize(("cell", "size"), [("lstm", 2), ("gru", 4), ("rnn", 3)])
def test_losses_of_several_ranks_are_those_of_one(
    train: Train, train_many: TrainRanks, make_spec: MakeSpec, wide: TextData, cell: str, size: int
) -> None:
    spec = make_spec(**WIDE, cell=cell, tbptt_stride=3, max_steps=30, gradient_clip_norm=0.2)
    alone, together = train(spec, wide), train_many(size, spec, wide)
    assert together.errors == [None] * size
    assert_equal_curves(together.points, alone.points)
    assert max(point.gradient_norm for point in alone.points) > 0.2  # so that clipping took part
    ours, theirs = together.snapshot(30), alone.snapshot(30)
    torch.testing.assert_close(ours.weights, theirs.weights, rtol=0, atol=1e-4)
    for name in ("state.h", "state.c")[: 1 + (cell == "lstm")]:  # of all streams, in their order in the text
        torch.testing.assert_close(ours.training[name], theirs.training[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "size"), [(name, 3 if name in ("tag", "regress") else 2) for name in DATA])
def test_every_task_learns_alike_on_several_ranks(train: Train, train_many: TrainRanks, name: str, size: int) -> None:
    """200 sequences: the last of the 4 batches of an epoch has 2 rows, for 3 ranks too. Of 144 windows it has 12."""
    truncated = {"tbptt_steps": 3} if name in ("classify", "regress") else {}
    spec = make_task_spec(name, batch_size=66, max_steps=9, validate_every_steps=6, **truncated)
    alone, together = train(spec, DATA[name][1]()), train_many(size, spec, DATA[name][1]())
    assert together.errors == [None] * size
    assert_equal_curves(together.points, alone.points)


def test_ranks_share_every_window_and_batch_out_among_them(wide: TextData) -> None:
    ranks = [Ranks(rank, 3) for rank in range(3)]
    sizes: dict[str, int] = {"batch_size": 12, "tbptt_steps": 5, "tbptt_stride": 3, "first": 2}
    whole, *parts = [Streams(wide.training, **sizes, ranks=of).window(5) for of in (Ranks(), *ranks)]
    assert torch.equal(torch.cat([part.inputs_BT for part in parts]), whole.inputs_BT)
    assert torch.equal(torch.cat([part.targets_BN for part in parts]), whole.targets_BN)
    assert [part[2:] for part in parts] == [whole[2:]] * 3
    examples = DATA["tag"][1]().training
    whole, *parts = [next(iter(ShuffledBatches(examples, batch_size=31, seed=4, ranks=of))) for of in (Ranks(), *ranks)]
    for column in ("inputs", "lengths_B", "targets"):
        assert torch.equal(torch.cat([getattr(part, column) for part in parts]), getattr(whole, column))
    assert [part[3:6] for part in parts] == [whole[3:6]] * 3
    assert sum(part.part for part in parts) == pytest.approx(1.0)


def test_resumed_ranks_equal_the_uninterrupted_ones_bit_for_bit(
    train_many: TrainRanks, make_spec: MakeSpec, wide: TextData
) -> None:
    """Of four ranks, for a sum of two has no order."""
    spec = make_spec(**WIDE | {"checkpoint_every_steps": 6}, dropout=0.25, max_steps=10)
    whole = train_many(4, spec, wide)
    again = train_many(4, spec, wide, resume=whole.checkpoint(6))
    assert [point.step for point in again.points] == [7, 8, 9, 10]
    assert again.snapshot(10).manifest.files == whole.snapshot(10).manifest.files
    generators = whole.snapshot(10).training["rng.torch"].chunk(4)
    assert len({tuple(generator.tolist()) for generator in generators}) == 4  # each rank has dropout of its own


def test_job_goes_on_after_a_rank_was_killed_as_if_nothing_had_happened(
    train_many: TrainRanks, make_spec: MakeSpec, wide: TextData
) -> None:
    spec = make_spec(**WIDE | {"checkpoint_every_steps": 6}, dropout=0.25, max_steps=10)
    whole = train_many(2, spec, wide)
    killed = train_many(2, spec, wide, wishes={1: Wishes(die_before=7)})
    assert killed.errors[1] == "killed"
    assert killed.errors[0] is not None
    assert killed.errors[0].startswith("RuntimeError: ")
    again = train_many(2, spec, wide, resume=killed.checkpoint(6))
    assert again.snapshot(10).manifest.files == whole.snapshot(10).manifest.files
    assert [p.train_loss for p in killed.points + again.points] == [p.train_loss for p in whole.points]


def test_job_goes_on_with_more_and_fewer_ranks(
    train: Train, train_many: TrainRanks, make_spec: MakeSpec, wide: TextData
) -> None:
    spec = make_spec(**WIDE, max_steps=30)
    whole = train(spec, wide)
    two = train_many(2, spec, wide, wishes={0: Wishes(suspend_after=7)})
    one = train(spec, wide, resume=two.snapshot(7), suspend_after=7)
    four = train_many(4, spec, wide, resume=one.folder(14))
    assert_equal_curves([*two.points, *one.points, *four.points], whole.points)


@pytest.mark.parametrize("rank", [0, 1])
def test_suspension_stops_all_ranks_behind_one_checkpoint(
    train_many: TrainRanks, make_spec: MakeSpec, wide: TextData, rank: int
) -> None:
    spec = make_spec(**WIDE, max_steps=9)
    run = train_many(3, spec, wide, wishes={rank: Wishes(suspend_after=5)})
    assert run.errors == ["Suspended: suspended at step 5"] * 3
    assert [outcome.asked for outcome in run.outcomes if outcome] == [5, 5, 5]
    assert run.snapshot(5).manifest.progress.step == 5


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_observer_raises_before_a_step_ends_all_ranks_there(
    train_many: TrainRanks, make_spec: MakeSpec, wide: TextData, rank: int
) -> None:
    run = train_many(2, make_spec(**WIDE), wide, wishes={rank: Wishes(stop_before=4)})
    assert run.errors[rank] == "Cancelled: told to stop"
    assert run.errors[1 - rank] == "Stopped: another worker of the job has stopped"
    assert [outcome.asked for outcome in run.outcomes if outcome] == [4, 4]


def test_what_the_observer_raises_at_a_checkpoint_ends_all_ranks(
    train_many: TrainRanks, make_spec: MakeSpec, wide: TextData
) -> None:
    spec = make_spec(**WIDE | {"checkpoint_every_steps": 2})
    run = train_many(2, spec, wide, wishes={0: Wishes(fail_at_checkpoint=True)})
    assert [outcome.asked for outcome in run.outcomes if outcome] == [2, 3]
    assert run.errors == ["OSError: no checkpoint today", "Stopped: another worker of the job has stopped"]


def test_only_the_observer_of_rank_0_is_told_of_points_and_checkpoints(
    train_many: TrainRanks, make_spec: MakeSpec, wide: TextData
) -> None:
    outcomes = train_many(2, make_spec(**WIDE, max_steps=3), wide).outcomes
    assert [outcome.told for outcome in outcomes if outcome] == [4, 0]  # three points and the last checkpoint


def test_loss_that_is_no_number_on_one_rank_ends_all_with_the_same_error(train_many: TrainRanks) -> None:
    data = DATA["regress"][1]()
    spec = make_task_spec("regress", batch_size=66)
    last = np.random.default_rng((spec.train.seed, 0)).permutation(200)[65]  # a row of the last rank
    data.training.targets[last] = np.nan
    run = train_many(3, spec, data)
    assert run.errors == ["NonFiniteLoss: training loss is nan at step 1"] * 3


def test_seconds_of_a_timed_run_are_the_same_on_all_ranks(
    train_many: TrainRanks, make_spec: MakeSpec, wide: TextData
) -> None:
    """What differed would be learning rates, and with them weights: no replay could repeat them."""
    spec = make_spec(**WIDE, max_steps=None, max_seconds=0.1)
    timed = train_many(2, spec, wide)
    assert timed.errors == [None, None]
    step = timed.points[-1].step
    assert [outcome.asked for outcome in timed.outcomes if outcome] == [step, step]
    last = timed.snapshot(step)
    again = train_many(2, spec, wide, replay=Replay(step, last.training["schedule.progress"].tolist()))
    assert again.snapshot(step).manifest.parameters_sha256 == last.manifest.parameters_sha256


def test_patience_is_lost_by_all_ranks_at_once(train_many: TrainRanks, make_spec: MakeSpec, wide: TextData) -> None:
    stuck = {"learning_rate": 1e-30, "weight_decay": 0.0}
    spec = make_spec(**WIDE | stuck | {"validate_every_steps": 2}, early_stop_patience=2, max_steps=99)
    run = train_many(2, spec, wide)
    assert run.errors == [None, None]
    assert [outcome.asked for outcome in run.outcomes if outcome] == [6, 6]


def test_batch_that_ranks_cannot_share_equally_is_refused() -> None:
    Ranks(0, 4).check(12)
    with pytest.raises(InvalidInput, match="batch_size of 12 streams cannot be shared equally by 5 workers") as caught:
        Ranks(0, 5).check(12)
    assert caught.value.param == "train.batch_size"
