"""Which jobs may be trained as one program: what they have to share, and what is each one's own."""

from collections.abc import Callable
from typing import Any

import pytest

from rnncore.fusable import fusable, fuse_key, keeps_key, most_fused
from rnncore.spec import JobSpec
from tests.rnncore.test_fused import DIFFERENT

MakeSpec = Callable[..., JobSpec]


@pytest.mark.parametrize(
    ("cell", "hidden_size", "most"),
    [("lstm", 48, 8), ("lstm", 49, 1), ("gru", 64, 8), ("gru", 65, 1), ("rnn", 128, 8), ("rnn", 129, 1)],
)
def test_fusing_is_worth_it_up_to_a_size(make_spec: MakeSpec, cell: str, hidden_size: int, most: int) -> None:
    spec = make_spec(cell=cell, hidden_size=hidden_size)
    assert most_fused(spec) == most
    assert (fuse_key(spec) is None) == (most == 1)


def changed(spec: JobSpec, path: str, value: Any) -> JobSpec:
    section, _, field = path.rpartition(".")
    if not section:
        return spec.model_copy(update={field: value})
    return spec.model_copy(update={section: getattr(spec, section).model_copy(update={field: value})})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset", "ds-" + "1" * 32),
        ("validation_dataset", "ds-" + "2" * 32),
        ("resources.gpus_per_worker", 0.5),
        ("model.cell", "gru"),
        ("model.hidden_size", 8),
        ("model.num_layers", 3),
        ("model.embedding_size", 5),
        ("model.tie_weights", True),
        ("model.unknown", True),
        ("train.batch_size", 4),
        ("train.tbptt_steps", 6),
        ("train.tbptt_stride", 3),
        ("train.precision", "auto"),
        ("train.validation_fraction", 0.25),
    ],
)
def test_jobs_that_differ_in_what_they_share_have_two_keys_and_cannot_be_fused(
    make_spec: MakeSpec, path: str, value: Any
) -> None:
    spec = make_spec()
    other = changed(spec, path, value)
    assert (fusable([other, other]), fuse_key(other) is None) == (None, False)
    assert str(fusable([spec, other])).startswith(f"{path} is ")
    assert fuse_key(other) != fuse_key(spec)
    assert not keeps_key(spec, ["train.seed", path])


@pytest.mark.parametrize(("path", "value"), [("priority", 4), ("init_from", "job-0123456789abcdef:step-4")])
def test_jobs_that_could_be_fused_and_need_not_wait_for_one_another_have_two_keys(
    make_spec: MakeSpec, path: str, value: Any
) -> None:
    spec = make_spec()
    other = changed(spec, path, value)
    assert fusable([spec, other]) is None
    assert None is not fuse_key(other) != fuse_key(spec)
    assert not keeps_key(spec, ["train.seed", path])


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("task", "tag", "task is tag; "),
        ("train.precision", "bf16-mixed", "train.precision is bf16-mixed; "),
        ("train.max_seconds", 5.0, "train.max_seconds counts the seconds of one job alone; "),
        ("resources.num_workers", 2, "resources.num_workers is 2; "),
        ("verify_of", "job-0123456789abcdef", "verify_of asks for the very steps of another job; "),
    ],
)
def test_job_that_is_trained_alone_has_no_key(make_spec: MakeSpec, path: str, value: Any, reason: str) -> None:
    spec = changed(make_spec(), path, value)
    assert str(fusable([spec, spec])).startswith(reason)
    assert fuse_key(spec) is None
    assert not keeps_key(spec, ["train.seed"])


@pytest.mark.parametrize("path", ["task", "resources.num_workers", "train.max_seconds"])
def test_sweep_over_what_makes_a_job_be_trained_alone_keeps_no_key(make_spec: MakeSpec, path: str) -> None:
    assert not keeps_key(make_spec(), ["train.seed", path])


def test_jobs_that_differ_only_in_what_is_each_ones_own_have_one_key(make_spec: MakeSpec) -> None:
    spec = make_spec()
    different = [*DIFFERENT, {"forget_bias": 0.5}, {"max_steps": None, "max_epochs": 2}]
    alike = [make_spec(**changes) for changes in different]
    assert fusable([spec, *alike]) is None
    assert {fuse_key(one) for one in alike} == {fuse_key(spec)}
    assert keeps_key(spec, ["train.seed", "model.dropout", "model.forget_bias", "train.learning_rate"])
