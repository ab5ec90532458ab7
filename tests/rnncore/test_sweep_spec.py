"""What a sweep asks for: which ranges are taken, and the jobs that they stand for."""

from typing import Any

import pytest
from pydantic import ValidationError

from rnncore.errors import InvalidInput
from rnncore.spec import JobSpec
from rnncore.sweep_points import check_sweep, grid, most_trials, trial_spec
from rnncore.sweep_spec import SweepSpec

DATASET = "ds-" + "0" * 32
RATE: dict[str, Any] = {"train.learning_rate": {"min": 1e-4, "max": 1e-1, "log": True}}


def sweep(parameters: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **changes: Any) -> SweepSpec:
    body = {"spec": {"dataset": DATASET} | (spec or {}), "parameters": parameters or RATE, "budget": {"max_trials": 7}}
    return SweepSpec.model_validate(body | changes)


def values(path: str, *values: Any) -> dict[str, Any]:
    return {path: {"values": values}}


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (values("train.learning_rat", 1), {}, "parameters.train.learning_rat", "no field of a JobSpec"),
    (values("train", 1), {}, "parameters.train", "no field of a JobSpec"),
    (values("nothing.at_all", 1), {}, "parameters.nothing.at_all", "no field of a JobSpec"),
    (values("verify_of", "job-" + "0" * 16), {}, "parameters.verify_of", "no field of a JobSpec"),
    (values("model.hidden_size", 32, 0), {}, "parameters.model.hidden_size", "greater than or equal to 1"),
    (values("model.hidden_size", 32, 32), {}, "parameters.model.hidden_size", "twice"),
    (values("model.cell", "lstm", "transformer"), {}, "parameters.model.cell", "'rnn', 'lstm' or 'gru'"),
    (values("model.tie_weights", True), {}, "parameters.model.tie_weights", "set embedding_size to 256"),
    (values("train.seed", 1, 2), {"replicates": 2}, "replicates", "seeds"),
    ({"model.cell": {"min": 1, "max": 2}}, {}, "parameters.model.cell", "no number"),
    ({"train.learning_rate": {"min": 1, "max": 11}}, {}, "parameters.train.learning_rate", "less than or equal to 10"),
    ({"model.hidden_size": {"min": 1.5, "max": 11}}, {}, "parameters.model.hidden_size", "whole numbers"),
    (RATE, {"search": {"method": "grid"}}, "parameters.train.learning_rate", "needs step"),
    (RATE, {"budget": {}}, "budget", "no end of its own"),
    (RATE, {"replicates": 8}, "budget.max_trials", "8 replicates"),
    (RATE, {"objective": {"metric": "accuracy"}}, "objective.metric", "classify and tag"),
    (RATE, {"early_stopping": {"min_steps": 499}}, "early_stopping.min_steps", "at step 500"),
    (values("train.seed", *range(8)), {"search": {"method": "grid"}}, "parameters", "8 trials, and 7 are allowed"),
]


@pytest.mark.parametrize(("parameters", "changes", "param", "told"), REFUSED, ids=[row[2] + row[3] for row in REFUSED])
def test_what_could_only_fail_later_is_named(
    parameters: dict[str, Any], changes: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told) as refused:
        check_sweep(sweep(parameters, **changes))
    assert refused.value.param == param


def test_value_that_another_parameter_makes_possible_is_taken() -> None:
    parameters = values("model.tie_weights", False, True) | values("model.embedding_size", 64, 256)
    assert check_sweep(sweep(parameters)) == [
        {"model.tie_weights": False, "model.embedding_size": 64},
        {"model.tie_weights": True, "model.embedding_size": 256},
    ]


@pytest.mark.parametrize(
    "parameter",
    [{"min": 2, "max": 1}, {"min": 0, "max": 1, "log": True}, {"values": []}, {"min": 1}, 3, {"values": [{}]}],
)
def test_range_that_is_none_is_refused(parameter: Any) -> None:
    with pytest.raises(ValidationError):
        sweep({"train.learning_rate": parameter})


def test_trial_is_the_job_with_the_values_put_in_and_defaults_filled_in_after() -> None:
    asked = sweep(values("train.tbptt_steps", 16, 32), {"train": {"batch_size": 5}}, name="search")
    job = trial_spec(asked, {"train.tbptt_steps": 16, "task": "language_model"}, number=3)
    assert (job.train.tbptt_steps, job.train.tbptt_stride, job.train.batch_size) == (16, 16, 5)
    assert job.name == "search 3"
    named = JobSpec.model_validate({"dataset": DATASET, "name": "search 3", "train": job.train.model_dump()})
    assert job == named


def test_limit_among_the_parameters_leaves_no_default_limit_beside_it() -> None:
    job = trial_spec(sweep(values("train.max_seconds", 3.0)), {"train.max_seconds": 3.0}, number=0)
    assert (job.train.max_steps, job.train.max_seconds) == (None, 3.0)


def test_replicates_differ_in_their_seed_alone() -> None:
    asked = sweep(spec={"train": {"seed": 11}}, replicates=3)
    jobs = [trial_spec(asked, {"train.learning_rate": 0.5}, number=number) for number in (3, 4, 5)]
    assert [job.train.seed for job in jobs] == [11, 12, 13]
    assert all(job.model_copy(update={"train": jobs[0].train}) == jobs[0] for job in jobs)
    assert most_trials(asked) == 6


def test_grid_has_every_combination_once_with_numbers_as_one_writes_them() -> None:
    ranges = {"model.dropout": {"min": 0, "max": 0.35, "step": 0.1}, "model.num_layers": {"min": 1, "max": 2}}
    asked = sweep(ranges, search={"method": "grid"}, budget={})
    assert [tuple(point.values()) for point in grid(asked)] == [
        (dropout, layers) for dropout in (0.0, 0.1, 0.2, 0.3) for layers in (1, 2)
    ]
    assert most_trials(asked) == 8


def test_what_was_asked_for_is_read_again_as_it_was() -> None:
    asked = sweep(values("model.cell", "lstm", "gru") | RATE, early_stopping={"min_steps": 500})
    assert SweepSpec.model_validate_json(asked.model_dump_json(exclude_unset=True)) == asked
