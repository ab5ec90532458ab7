"""JobSpec: its defaults, its bounds, and that it survives the wire."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import annotated_types
import pytest
from pydantic import BaseModel, ValidationError

from rnncore.errors import ShapeMismatch
from rnncore.spec import JobSpec, ModelSpec, TrainSpec, starting_from

DATASET = "ds-0123456789abcdef0123456789abcdef"
REQUIRED: dict[type[BaseModel], dict[str, Any]] = {ModelSpec: {}, TrainSpec: {}, JobSpec: {"dataset": DATASET}}


def test_defaults_are_the_documented_ones() -> None:
    assert JobSpec(dataset=DATASET).model_dump() == {
        "task": "language_model",
        "dataset": DATASET,
        "validation_dataset": None,
        "name": None,
        "verify_of": None,
        "retry_of": None,
        "init_from": None,
        "model": {
            "cell": "lstm",
            "hidden_size": 256,
            "num_layers": 1,
            "embedding_size": 128,
            "dropout": 0.1,
            "bidirectional": False,
            "forget_bias": 0.0,
            "tie_weights": False,
            "reset_after": True,
            "unknown": False,
        },
        "train": {
            "batch_size": 32,
            "tbptt_steps": 64,
            "tbptt_stride": 64,
            "max_steps": 5000,
            "max_epochs": None,
            "max_seconds": None,
            "learning_rate": 4e-3,
            "schedule": "cosine",
            "warmup_steps": 100,
            "weight_decay": 0.01,
            "gradient_clip_norm": 1.0,
            "precision": "auto",
            "seed": 0,
            "validation_fraction": 0.1,
            "validate_every_steps": 500,
            "checkpoint_every_steps": 500,
            "keep_checkpoints": 10,
            "early_stop_patience": None,
            "sample_prompts": (),
        },
        "resources": {"num_workers": 1, "min_workers": None, "gpus_per_worker": None},
        "priority": 5,
        "timeout_seconds": None,
        "max_attempts": 3,
        "metadata": {},
    }


@pytest.mark.parametrize(
    ("limits", "max_steps"),
    [({}, 5000), ({"max_steps": 7}, 7), ({"max_epochs": 2}, None), ({"max_seconds": 3.5}, None)],
)
def test_max_steps_has_a_default_only_where_no_limit_is_named(limits: dict[str, Any], max_steps: int | None) -> None:
    assert TrainSpec(**limits).max_steps == max_steps


def _bounds() -> Iterator[Any]:
    """(part, field, a value just outside one of its bounds), for every bound there is."""
    for part in REQUIRED:
        for name, field in part.model_fields.items():
            for rule in field.metadata:
                match rule:
                    case annotated_types.Ge(ge=limit):
                        outside = limit - 1
                    case annotated_types.Gt(gt=limit) | annotated_types.Lt(lt=limit):
                        outside = limit
                    case annotated_types.Le(le=limit):
                        outside = limit + 1
                    case _:
                        continue
                yield pytest.param(part, name, outside, id=f"{part.__name__}.{name}={outside}")


@pytest.mark.parametrize(("part", "field", "outside"), list(_bounds()))
def test_value_outside_a_bound_is_refused_naming_the_field(part: type[BaseModel], field: str, outside: float) -> None:
    with pytest.raises(ValidationError) as caught:
        part.model_validate(REQUIRED[part] | {field: outside})
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


@pytest.mark.parametrize("part", list(REQUIRED))
def test_every_number_is_bounded_on_both_sides(part: type[BaseModel]) -> None:
    for name, field in part.model_fields.items():
        if field.annotation in (int, float, int | None, float | None):
            kinds = {type(rule) for rule in field.metadata}
            assert kinds & {annotated_types.Ge, annotated_types.Gt}, name
            assert kinds & {annotated_types.Le, annotated_types.Lt}, name


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"epochs": 3}, ("epochs",)),
        ({"model": {"hidden": 7}}, ("model", "hidden")),
        ({"train": {"lr": 0.1}}, ("train", "lr")),
    ],
)
def test_unknown_field_is_refused_naming_it(body: dict[str, Any], where: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate({"dataset": DATASET} | body)
    assert [(error["type"], error["loc"]) for error in caught.value.errors()] == [("extra_forbidden", where)]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"dataset": "../secret"}, ("dataset",)),
        ({"init_from": "-rf"}, ("init_from",)),
        ({"name": ""}, ("name",)),
        ({"model": {"cell": "transformer"}}, ("model", "cell")),
        ({"train": {"learning_rate": float("nan")}}, ("train", "learning_rate")),
        ({"train": {"sample_prompts": ["a"] * 5}}, ("train", "sample_prompts")),
        ({"metadata": {str(n): "" for n in range(17)}}, ("metadata",)),
    ],
)
def test_value_of_a_wrong_form_is_refused_naming_the_field(body: dict[str, Any], where: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate({"dataset": DATASET} | body)
    assert [error["loc"] for error in caught.value.errors()] == [where]


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_only_a_gru_may_reset_before_the_product(cell: Any) -> None:
    with pytest.raises(ValidationError, match=f"is for cell=gru alone, cell is {cell}; leave it out"):
        ModelSpec(cell=cell, reset_after=False)
    assert not ModelSpec(cell="gru", reset_after=False).reset_after


def test_tied_weights_of_unequal_sizes_are_refused_with_both_ways_out() -> None:
    with pytest.raises(ValidationError, match=r"got 5 and 7; set embedding_size to 7 or tie_weights to false"):
        ModelSpec(tie_weights=True, embedding_size=5, hidden_size=7)


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(dataset=DATASET),
        JobSpec(
            dataset=DATASET,
            validation_dataset="ds-" + "f" * 32,
            name="한국어 \N{GRINNING FACE}",
            init_from="job-1:step-800",
            model=ModelSpec(cell="gru", hidden_size=7, num_layers=2, dropout=0.1, unknown=True),
            train=TrainSpec(max_seconds=0.1, learning_rate=1e-7, gradient_clip_norm=None, sample_prompts=("a", "\n")),
            metadata={"k": "v"},
        ),
    ],
)
def test_spec_survives_json_unchanged(spec: JobSpec) -> None:
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


INITIAL = ModelSpec(cell="gru", hidden_size=7, num_layers=2, embedding_size=4, dropout=0.3, unknown=True)


def test_fields_left_out_are_those_of_the_first_model_but_dropout() -> None:
    asked = JobSpec(dataset=DATASET, model=ModelSpec(hidden_size=7, dropout=0.2))
    assert starting_from(asked, "language_model", INITIAL, "job-1") == JobSpec(
        dataset=DATASET, init_from="job-1", model=INITIAL.model_copy(update={"dropout": 0.2})
    )


@pytest.mark.parametrize(
    ("field", "ours"),
    [("cell", "rnn"), ("hidden_size", 5), ("num_layers", 1), ("embedding_size", 6), ("unknown", False)],
)
def test_field_named_otherwise_than_the_first_model_is_refused(field: str, ours: Any) -> None:
    asked = JobSpec(dataset=DATASET, model=ModelSpec.model_validate({field: ours}))
    with pytest.raises(ShapeMismatch) as caught:
        starting_from(asked, "language_model", INITIAL, "job-1")
    theirs = getattr(INITIAL, field)
    assert caught.value.param == f"model.{field}"
    assert caught.value.message == (
        f"model.{field} is {ours}, but init_from=job-1 has {theirs}; leave it out or set it to {theirs}"
    )


def test_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        JobSpec(dataset=DATASET).priority = 9  # type: ignore[misc]


def test_floor_modules_load_no_torch() -> None:
    program = (
        "import sys, rnncore.spec, rnncore.vocabulary, rnncore.corpus, rnncore.encoding, rnncore.manifest\n"
        "import rnncore.errors, rnncore.plans, rnncore.datasets.scan\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'pytorch_lightning', 'safetensors', 'ray'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def job(task: str = "language_model", **sections: dict[str, Any]) -> JobSpec:
    return JobSpec.model_validate({"dataset": "ds-" + "0" * 32, "task": task} | sections)


def test_stride_is_at_most_the_window_and_as_long_unless_asked() -> None:
    assert job(train={"tbptt_steps": 9}).train.tbptt_stride == 9
    assert job(train={"tbptt_steps": 9, "tbptt_stride": 4}).train.tbptt_stride == 4
    with pytest.raises(ValidationError, match=r"train.tbptt_stride of 10 is over train.tbptt_steps of 9"):
        job(train={"tbptt_steps": 9, "tbptt_stride": 10})


@pytest.mark.parametrize(
    ("task", "steps", "stride", "forget_bias"),
    [
        ("language_model", 64, 64, 0.0),
        ("forecast", 32, None, 1.0),
        ("classify", None, None, 1.0),
        ("translate", None, None, 1.0),
    ],
)
def test_defaults_of_each_task_are_filled_in(
    task: str, steps: int | None, stride: int | None, forget_bias: float
) -> None:
    spec = job(task)
    assert (spec.train.tbptt_steps, spec.train.tbptt_stride, spec.model.forget_bias) == (steps, stride, forget_bias)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"train": {"tbptt_stride": 4}}, "train.tbptt_stride is for language_model alone, task is classify"),
        ({"model": {"bidirectional": True}, "train": {"tbptt_steps": 9}}, "cannot cut a gradient that also flows from"),
        (
            {"model": {"tie_weights": True, "embedding_size": 256}},
            "model.tie_weights is for language_model alone, task is classify",
        ),
    ],
)
def test_what_another_task_cannot_use_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        job("classify", **sections)


@pytest.mark.parametrize("task", ["language_model", "generate"])
def test_task_that_predicts_what_comes_next_reads_in_one_direction(task: str) -> None:
    with pytest.raises(ValidationError, match=f"would let a {task} read the symbol that it has to predict"):
        job(task, model={"bidirectional": True})
    assert job("classify", model={"bidirectional": True}).model.bidirectional


def test_model_of_another_task_is_no_start() -> None:
    with pytest.raises(ShapeMismatch, match="task is classify, but init_from=job-1 is a language_model") as caught:
        starting_from(job("classify"), "language_model", INITIAL, "job-1")
    assert caught.value.param == "init_from"
