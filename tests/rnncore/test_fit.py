"""fit() against a training loop in plain torch, and what it starts from. B 3, E 4, T 5, H 7, V 11."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnncore.errors import CorruptCheckpoint
from rnncore.fit import resolved_precision, threads_for
from rnncore.network import RecurrentNetwork
from rnncore.ranks import Ranks
from rnncore.spec import Cell, JobSpec
from rnncore.text import TextData

MakeSpec = Callable[..., JobSpec]
Train = Callable[..., Any]
KINDS: dict[Cell, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Plain(nn.Module):
    """The same network in torch's own words, with the initial weights that `spec` is seeded for."""

    def __init__(self, spec: JobSpec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.recurrent = KINDS[spec.model.cell](4, 7, spec.model.num_layers, batch_first=True)
        self.output = nn.Linear(7, 11)
        torch.manual_seed(spec.train.seed)
        self.load_state_dict(RecurrentNetwork(spec.model, vocabulary_size=11).state_dict())


def plain_training(spec: JobSpec, ids: np.ndarray, steps: int) -> tuple[Plain, list[float], list[float]]:
    """Truncated back-propagation as one would write it by hand: the network, the losses, the gradient norms."""
    model = Plain(spec)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999))
    text = torch.from_numpy(ids.astype(np.int64))
    streams, nexts = text[:51].reshape(3, 17), text[1:52].reshape(3, 17)
    losses, norms, state = [], [], None
    for step in range(steps):
        at = step % 4 * 5
        if at == 0:
            state = None
        elif isinstance(state, tuple):
            state = (state[0].detach(), state[1].detach())
        elif state is not None:
            state = state.detach()
        hidden, state = model.recurrent(model.embedding(streams[:, at : at + 5]), state)
        each = nn.functional.cross_entropy(
            model.output(hidden).flatten(0, 1), nexts[:, at : at + 5].flatten(), reduction="none"
        )
        optimizer.zero_grad()
        (each.sum() / 15).backward()  # the last window of an epoch has 6 losses only
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.2)))
        for group in optimizer.param_groups:
            cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = 0.02 * min(1.0, (step + 1) / 3) * cosine
        optimizer.step()
        losses.append(each.mean().item())
    return model, losses, norms


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_training_equals_a_loop_in_plain_torch(
    train: Train, make_spec: MakeSpec, data: TextData, cell: Cell, num_layers: int
) -> None:
    spec = make_spec(cell=cell, num_layers=num_layers, max_steps=10, learning_rate=0.02, gradient_clip_norm=0.2, seed=6)
    run = train(spec, data)
    model, losses, norms = plain_training(spec, data.training, 10)
    assert [point.train_loss for point in run.points] == pytest.approx(losses, abs=2e-6)
    assert [point.gradient_norm for point in run.points] == pytest.approx(norms, rel=1e-5)
    assert max(norms) > 0.2  # so that clipping took part
    torch.testing.assert_close(run.snapshot(10).weights, dict(model.state_dict()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("constant", [0.1, 0.2, 0.3, 0.3]), ("cosine", [0.1, 0.2 * (0.01 + 0.99 * (2 + 2**0.5) / 4), 0.3 * 0.505, None])],
)
def test_learning_rate_rises_and_then_follows_its_schedule(
    train: Train, make_spec: MakeSpec, data: TextData, schedule: str, rates: list[float | None]
) -> None:
    run = train(make_spec(max_steps=4, warmup_steps=3, learning_rate=0.3, schedule=schedule), data)
    if rates[-1] is None:
        rates = [*rates[:-1], 0.3 * (0.01 + 0.99 * (2 - 2**0.5) / 4)]
    assert [point.learning_rate for point in run.points] == pytest.approx(rates, rel=1e-12)


def test_seed_decides_the_run(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    one, same, other = (train(make_spec(seed=seed, dropout=0.25), data).snapshot(8).manifest for seed in (1, 1, 2))
    assert one.files == same.files
    assert one.parameters_sha256 != other.parameters_sha256


def test_manifest_says_what_was_trained_and_on_what(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    spec = make_spec(max_steps=2)
    run = train(spec, data)
    manifest = run.snapshot(2).manifest
    assert (manifest.job, manifest.epoch, manifest.task) == ("job-of-the-tests", 1, "language_model")
    assert (manifest.model, manifest.encoding.vocabulary, manifest.precision) == (spec.model, data.vocabulary, "fp32")
    assert manifest.train_loss == pytest.approx(run.points[-1].train_loss, rel=1e-6)
    assert manifest.environment["threads"] == 1
    assert manifest.environment["torch"] == torch.__version__


def test_manifest_says_under_what_the_run_went_on_and_under_what_before(
    train: Train, make_spec: MakeSpec, data: TextData
) -> None:
    spec = make_spec(max_steps=4, checkpoint_every_steps=2, validate_every_steps=4)
    first = train(spec, data).snapshot(2)
    earlier = first.manifest.model_copy(
        update={"environment": {**first.manifest.environment, "torch": "1.0", "fused": 3}}
    )
    manifest = train(spec, data, resume=first._replace(manifest=earlier)).snapshot(4).manifest
    expected = {**first.manifest.environment, "torch": f"1.0, then {torch.__version__}", "fused": 3}
    assert manifest.environment == expected


@pytest.mark.parametrize(
    ("hidden_size", "batch_size", "num_ranks", "threads"),
    [(32, 32, 1, 6), (31, 32, 1, 1), (64, 32, 2, 6), (32, 32, 2, 1), (512, 2, 1, 6), (512, 1, 1, 1)],
)
def test_a_rank_takes_all_threads_where_its_products_are_large_enough(
    make_spec: MakeSpec, hidden_size: int, batch_size: int, num_ranks: int, threads: int
) -> None:
    spec = make_spec(hidden_size=hidden_size, batch_size=batch_size)
    assert threads_for(spec, 6, Ranks(0, num_ranks)) == threads


def test_initial_weights_start_a_new_run_at_step_one(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    first = train(make_spec(seed=1), data).snapshot(8)
    still = make_spec(seed=2, learning_rate=1e-30, weight_decay=0.0, max_steps=1)
    run = train(still, data, initial=first)
    assert [point.step for point in run.points] == [1]
    assert run.snapshot(1).manifest.parameters_sha256 == first.manifest.parameters_sha256
    assert run.snapshot(1).manifest.progress.characters == 15


def test_initial_weights_of_another_shape_are_refused(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    smaller = train(make_spec(hidden_size=5, max_steps=1), data).snapshot(1)
    with pytest.raises(CorruptCheckpoint, match="weights do not fit the network"):
        train(make_spec(), data, initial=smaller)


@pytest.mark.parametrize(
    ("asked", "can_run", "is_faster", "precision"),
    [
        ("fp32", True, True, "fp32"),
        ("bf16-mixed", True, False, "bf16-mixed"),
        ("bf16-mixed", False, False, "fp32"),
        ("auto", True, True, "bf16-mixed"),
        ("auto", True, False, "fp32"),
        ("auto", False, False, "fp32"),
    ],
)
def test_precision_is_what_was_asked_for_and_the_processor_can_do(
    monkeypatch: pytest.MonkeyPatch, asked: Any, can_run: bool, is_faster: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: is_faster)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: can_run)
    found, why = resolved_precision(asked)
    assert found == precision
    assert (why is not None) == (asked == "bf16-mixed" and not can_run)


def test_owner_is_told_where_another_precision_is_used(
    monkeypatch: pytest.MonkeyPatch, train: Train, make_spec: MakeSpec, data: TextData
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    run = train(make_spec(max_steps=1, precision="bf16-mixed"), data)
    assert run.warnings == [
        "this hardware cannot multiply bf16; training in fp32 instead of train.precision=bf16-mixed"
    ]
    assert run.snapshot(1).manifest.precision == "fp32"
    assert train(make_spec(max_steps=1, precision="bf16-mixed"), data, resume=run.snapshot(1)).warnings == []


def test_no_warning_filter_is_left_behind(train: Train, make_spec: MakeSpec, data: TextData) -> None:
    before = list(warnings.filters)
    train(make_spec(max_steps=1), data)
    assert list(warnings.filters) == before
