"""Fine-tuning jobs, as OpenAI's own client submits, steers and watches them."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, TEXT, Api, Trained
from openai_sdk import Sdk, sdk_of

from rnncore.spec import TrainSpec
from services.jobqueue import keys

UNKNOWN = "job-0123456789abcdef"
DATASET = "ds-" + "0" * 32
RNN = {"model": {"hidden_size": 7, "embedding_size": 5}, "train": SMALL_TRAIN}
LEARNING_RATE = TrainSpec().learning_rate
FAULT = {"type": "io_error", "message": "the disk is gone", "hint": None, "log_tail": ""}


def upload(sdk: Sdk, text: str = TEXT) -> str:
    return str(sdk("files.create", file=("book.txt", text.encode()), purpose="fine-tune").id)


def create(sdk: Sdk, **fields: Any) -> Any:
    fields = {"model": "gru", "method": {"type": "rnn", "rnn": RNN}} | fields
    if "training_file" not in fields:
        fields["training_file"] = upload(sdk)
    return sdk("fine_tuning.jobs.create", **fields)


def refusal(sdk: Sdk, status: int, **fields: Any) -> tuple[str, str]:
    """Field and sentence with which a job is refused."""
    with pytest.raises(openai.APIStatusError) as refused:
        create(sdk, **fields)
    assert refused.value.status_code == status
    return str(refused.value.param), str(refused.value)


def test_job_is_answered_in_openais_words_with_ours_beside_them(api: Api, sdk: Sdk) -> None:
    training, validation = upload(sdk), upload(sdk, TEXT * 2)
    job = create(
        sdk, training_file=training, validation_file=validation, suffix="mine", seed=3, metadata={"run": "5"}
    ).to_dict()
    record = api.client.get(f"/v1/jobs/{job['id']}").json()
    assert job == {
        "id": record["id"],
        "object": "fine_tuning.job",
        "created_at": int(record["created_at"]),
        "finished_at": None,
        "estimated_finish": None,
        "status": "queued",
        "unroll_state": "queued",
        "model": "gru",
        "fine_tuned_model": None,
        "organization_id": "default",
        "training_file": training,
        "validation_file": validation,
        "hyperparameters": {"n_epochs": "auto", "batch_size": 3, "learning_rate_multiplier": 1.0},
        "seed": 3,
        "trained_tokens": None,
        "result_files": [],
        "metadata": {"run": "5"},
        "error": None,
        "unroll": record,
    }
    assert record["spec"]["name"] == "mine"
    assert {name: record["spec"]["train"][name] for name in SMALL_TRAIN} == SMALL_TRAIN
    assert record["spec"]["model"]["hidden_size"] == 7
    assert sdk("fine_tuning.jobs.retrieve", job["id"]).to_dict() == job
    assert [listed.to_dict() for listed in sdk.all("fine_tuning.jobs.list")] == [job]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_cell_is_the_model_and_all_else_is_default(api: Api, cell: str) -> None:
    with sdk_of(api, _strict_response_validation=True) as sdk:
        job = sdk("fine_tuning.jobs.create", model=cell, training_file=upload(sdk, TEXT * 2))
    spec = api.client.get(f"/v1/jobs/{job.id}").json()["spec"]
    assert spec["model"]["cell"] == job.model == cell
    assert spec == api.submit(job.training_file, model={"cell": cell}, train={})["spec"]


HYPERPARAMETERS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"n_epochs": 2}, {"max_epochs": 2, "max_steps": None}),
    ({"batch_size": 4}, {"batch_size": 4}),
    ({"learning_rate_multiplier": 0.5}, {"learning_rate": LEARNING_RATE / 2}),
    ({"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}, {}),
)


@pytest.mark.parametrize(("given", "meant"), HYPERPARAMETERS)
@pytest.mark.parametrize("is_new", [True, False])
def test_hyperparameters_mean_fields_of_train(
    api: Api, given: dict[str, Any], meant: dict[str, Any], is_new: bool
) -> None:
    supervised = {"type": "supervised", "supervised": {"hyperparameters": given}}
    fields = {"method": supervised} if is_new else {"hyperparameters": given}
    with sdk_of(api, _strict_response_validation=True) as sdk:
        job = sdk("fine_tuning.jobs.create", model="gru", training_file=upload(sdk, TEXT * 3), **fields)
    default = TrainSpec(tbptt_steps=64, tbptt_stride=64).model_dump(mode="json")
    assert job.unroll["spec"]["train"] == default | meant
    answered = job.hyperparameters.to_dict()
    wanted = {"n_epochs": "auto", "batch_size": 32, "learning_rate_multiplier": 1.0}
    assert answered == wanted | {name: value for name, value in given.items() if value != "auto"}


def test_method_and_extra_body_come_through_untouched(api: Api, sdk: Sdk) -> None:
    rnn = {"priority": 9, "metadata": {"a": "b"}, "model": SMALL_MODEL, "train": SMALL_TRAIN | {"max_epochs": 2}}
    plain = create(sdk, method={"type": "rnn", "rnn": rnn})
    extra = sdk(
        "fine_tuning.jobs.create",
        model="gru",
        training_file=plain.training_file,
        extra_body={"method": {"type": "rnn", "rnn": rnn}},
    )
    ours = api.submit(plain.training_file, **rnn)
    assert plain.unroll["spec"] == extra.unroll["spec"] == ours["spec"]


def test_task_of_another_kind_is_asked_for_in_the_method(api: Api, sdk: Sdk) -> None:
    rows = "".join(f'{{"text": "{"ab" * n}", "label": "{n % 2}"}}\n' for n in range(1, 40))
    file = sdk("files.create", file=("names.jsonl", rows.encode()), purpose="fine-tune")
    job = create(sdk, training_file=file.id, method={"type": "rnn", "rnn": {"task": "classify"}})
    assert job.unroll["spec"]["task"] == "classify"


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameters.beta", "not permitted"),
        ({"hyperparameters": {"batch_size": 0}, "method": None}, "hyperparameters.batch_size", "equal to 1"),
        ({"hyperparameters": {"n_epochs": 10**9}}, "hyperparameters.n_epochs", "100000"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}}, "hyperparameters.learning_rate_multiplier", "than 0"),
        ({"hyperparameters": {"batch_size": 4}}, "hyperparameters.batch_size", "another place 3; say it once"),
        ({"model": "lstm", "method": {"type": "rnn", "rnn": {"model": {"cell": "gru"}}}}, "model", "'gru'"),
        ({"method": {"type": "dpo"}}, "method.type", "'rnn' or 'supervised'"),
        ({"method": {"type": "supervised", "rnn": RNN}}, "method", "leave out 'rnn'"),
        ({"method": {"type": "rnn", "rnn": {"train": {"learning_rat": 1}}}}, "method.rnn.train.learning_rat", "not"),
        ({"method": {"type": "rnn", "rnn": {"train": 5}}}, "method.rnn.train", "valid dictionary"),
        ({"method": {"type": "rnn", "rnn": {"colour": "red"}}}, "method.rnn.colour", "not permitted"),
        ({"method": {"type": "rnn", "rnn": {"dataset": DATASET}}}, "training_file", "say it once"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"suffix": ""}, "suffix", "at least 1"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "512"),
        ({"model": "../../etc/passwd"}, "model", "pattern"),
        ({"training_file": "file-abc"}, "training_file", "pattern"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", "at most 0"),
        ({"extra_body": {"priority": 3}}, "priority", "not permitted"),
    ],
)
def test_field_that_cannot_be_meant_is_refused_by_name(api: Api, fields: dict[str, Any], param: str, told: str) -> None:
    with sdk_of(api) as sdk:
        named, message = refusal(sdk, 422, **fields)
        assert named == param
        assert told in message
        assert sdk.all("fine_tuning.jobs.list") == []


@pytest.mark.parametrize(
    ("rnn", "param"),
    [
        (r'{"name": "\ud800"}', "method.rnn.name"),
        (r'{"x": "\ud800"}', "method.rnn.x"),
        ('{"train": {"learning_rate": NaN}}', "method.rnn.train.learning_rate"),
        ('{"train": ' + "[" * 900 + "]" * 900 + "}", "method.rnn.train"),
        ('{"x": ' + '{"x":' * 900 + "1" + "}" * 901, "method.rnn.x"),
        ('{"dataset": ' + "[" * 900 + "]" * 900 + "}", "training_file"),
        ('{"train": {"seed": ' + "9" * 4000 + "}}", "method.rnn.train.seed"),
    ],
)
def test_what_is_no_job_at_all_is_refused_by_name(api: Api, rnn: str, param: str) -> None:
    body = f'{{"model": "gru", "training_file": "{api.upload()["id"]}", "method": {{"type": "rnn", "rnn": {rnn}}}}}'
    answer = api.client.post("/v1/fine_tuning/jobs", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)


def test_name_that_says_auto_is_a_name(api: Api, sdk: Sdk) -> None:
    assert create(sdk, suffix="auto").unroll["spec"]["name"] == "auto"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"training_file": DATASET}, 404, "training_file"),
        ({"validation_file": DATASET}, 404, "validation_file"),
        ({"model": UNKNOWN}, 404, "model"),
        ({"model": "gpt-4o-mini"}, 404, "model"),
        ({"hyperparameters": {"batch_size": 999}, "method": None}, 422, "hyperparameters.batch_size"),
        ({"method": {"type": "rnn", "rnn": {"train": {"batch_size": 999}}}}, 422, "method.rnn.train.batch_size"),
        (
            {"method": {"type": "rnn", "rnn": RNN | {"train": SMALL_TRAIN | {"sample_prompts": ["X"]}}}},
            422,
            "method.rnn.train.sample_prompts",
        ),
    ],
)
def test_what_the_data_forbid_is_refused_by_the_field_it_was_asked_in(
    api: Api, fields: dict[str, Any], status: int, param: str
) -> None:
    with sdk_of(api) as sdk:
        assert refusal(sdk, status, **fields)[0] == param


def test_model_of_this_service_is_started_from(api: Api, sdk: Sdk, model: str) -> None:
    api.client.put("/v1/models/favourite", json={"model": model})
    dataset = api.client.get(f"/v1/jobs/{model}").json()["spec"]["dataset"]
    for name in (model, "favourite"):
        job = create(sdk, model=name, training_file=dataset, method={"type": "rnn", "rnn": {"train": SMALL_TRAIN}})
        assert job.model == job.unroll["spec"]["init_from"] == f"{model}:step-4"
        assert {field: job.unroll["spec"]["model"][field] for field in SMALL_MODEL} == SMALL_MODEL
    wide = {"type": "rnn", "rnn": {"model": {"hidden_size": 11}, "train": SMALL_TRAIN}}
    param, message = refusal(sdk, 422, model=model, training_file=dataset, method=wide)
    assert param == "method.rnn.model.hidden_size"
    assert f"init_from={model}:step-4 has 7" in message


def paused(api: Api, job: str) -> None:
    api.client.post(f"/v1/jobs/{job}/pause")


def cancelled(api: Api, job: str) -> None:
    api.client.post(f"/v1/jobs/{job}/cancel")


def pausing(api: Api, job: str) -> None:
    api.claim()
    paused(api, job)


STATES: tuple[tuple[str, str, Callable[[Api, str], Any]], ...] = (
    ("queued", "queued", lambda api, job: None),
    ("running", "running", lambda api, job: api.claim()),
    ("pausing", "running", pausing),
    ("paused", "queued", paused),
    ("succeeded", "succeeded", lambda api, job: api.claim().finish("succeeded")),
    ("failed", "failed", lambda api, job: api.claim().fail(FAULT, retriable=False)),
    ("cancelled", "cancelled", cancelled),
)


@pytest.mark.parametrize(("state", "status", "bring"), STATES, ids=[row[0] for row in STATES])
def test_every_state_has_a_status_that_the_strictest_client_takes(
    api: Api, state: str, status: str, bring: Callable[[Api, str], Any]
) -> None:
    with sdk_of(api, _strict_response_validation=True) as sdk:
        job = create(sdk)
        bring(api, job.id)
        (found,) = sdk.all("fine_tuning.jobs.list")
        assert (found.unroll_state, found.status) == (state, status)
        assert found.fine_tuned_model == (job.id if state == "succeeded" else None)
        assert (found.finished_at is not None) == (state in ("succeeded", "failed", "cancelled"))
        wanted = {"code": "io_error", "message": "the disk is gone", "param": None} if state == "failed" else None
        assert (found.error and found.error.to_dict()) == wanted
        assert all(event.type == "message" for event in sdk.all("fine_tuning.jobs.list_events", job.id))


def test_altered_record_shows_as_failed(api: Api, sdk: Sdk) -> None:
    job = create(sdk)
    api.scripts.redis.hset(keys.job(job.id), "spec", json.dumps({"dataset": DATASET}))
    found = sdk("fine_tuning.jobs.retrieve", job.id)
    assert (found.status, found.error.code, found.model) == ("failed", "envelope", "")


def test_cancel_pause_and_resume_answer_the_job_however_often(api: Api, sdk: Sdk) -> None:
    job = create(sdk)
    for how, state in (("pause", "paused"), ("pause", "paused"), ("resume", "queued"), ("resume", "queued")):
        assert sdk(f"fine_tuning.jobs.{how}", job.id).unroll_state == state
    for _ in range(2):
        assert sdk("fine_tuning.jobs.cancel", job.id).status == "cancelled"
    for how in ("pause", "resume", "cancel", "retrieve", "list_events"):
        with pytest.raises(openai.NotFoundError):
            sdk(f"fine_tuning.jobs.{how}", UNKNOWN)


def test_loop_over_pages_of_jobs_ends_with_the_first_job(api: Api, sdk: Sdk) -> None:
    dataset = api.upload()["id"]
    ids = [api.submit(dataset, metadata={"odd": str(number % 2)})["id"] for number in range(5)][::-1]
    assert [job.id for job in sdk.all("fine_tuning.jobs.list", limit=2)] == ids
    assert [job.id for job in sdk.all("fine_tuning.jobs.list", limit=1, metadata={"odd": "1"})] == [ids[1], ids[3]]
    assert [job.id for job in sdk.all("fine_tuning.jobs.list", after=ids[2])] == ids[3:]


def test_events_come_newest_first_to_the_end(api: Api, sdk: Sdk, trained: Trained) -> None:
    job = create(sdk)
    held = api.claim()
    row = {"step": 1, "train_loss": 1.25, "validation_loss": None, "gradient_norm": 0.5}
    held.write(events=[("metrics", row), ("message", {"level": "warning", "text": "the disk is slow"})])
    checkpoint = api.publish(held, trained, 4)
    held.write(events=[("checkpoint", checkpoint.model_dump() | {"samples": []})])
    held.write(events=[("metrics", row | {"step": 4, "validation_loss": 1.5})])
    held.fail(FAULT, retriable=False)
    events = sdk.all("fine_tuning.jobs.list_events", job.id, limit=2)
    assert [(event.type, event.level, event.message, event.data) for event in events] == [
        ("message", "error", "The job is failed: io_error", {}),
        (
            "metrics",
            "info",
            "Step 4, train_loss 1.2500, full_valid_loss 1.5000",
            {"step": 4, "train_loss": 1.25, "full_valid_loss": 1.5},
        ),
        ("message", "info", f"Checkpoint at step 4: {job.id}:step-4", {}),
        ("message", "warn", "the disk is slow", {}),
        ("metrics", "info", "Step 1, train_loss 1.2500", {"step": 1, "train_loss": 1.25}),
        ("message", "info", "The job is running: claimed", {}),
        ("message", "info", "The job is queued: submitted", {}),
    ]
    ours = api.client.get(f"/v1/jobs/{job.id}/events").json()["data"]
    assert [event.unroll for event in events] == ours[::-1]
    assert {event.object for event in events} == {"fine_tuning.job.event"}


def test_checkpoints_come_latest_first_to_the_end_also_behind_one_that_is_gone(
    api: Api, sdk: Sdk, trained: Trained
) -> None:
    job = create(sdk)
    held = api.claim()
    for step in (4, 8, 15, 16, 23):
        api.publish(held, trained, step, validation_loss=2.0 - step / 100)
    found = sdk.all("fine_tuning.jobs.checkpoints.list", job.id, limit=2)
    assert [checkpoint.step_number for checkpoint in found] == [23, 16, 15, 8, 4]
    ours = api.client.get(f"/v1/jobs/{job.id}/checkpoints").json()["data"]
    assert found[1].to_dict() == {
        "id": f"{job.id}:step-16",
        "object": "fine_tuning.job.checkpoint",
        "created_at": 1016,
        "fine_tuned_model_checkpoint": f"{job.id}:step-16",
        "fine_tuning_job_id": job.id,
        "step_number": 16,
        "metrics": {"step": 16, "train_loss": None, "full_valid_loss": 1.84},
        "unroll": ours[1],
    }
    held.write(drop=[15])
    behind = sdk.all("fine_tuning.jobs.checkpoints.list", job.id, after=f"{job.id}:step-15")
    assert [checkpoint.step_number for checkpoint in behind] == [8, 4]
    for strange in (f"{UNKNOWN}:step-15", "step-15", f"{job.id}:latest"):
        with pytest.raises(openai.NotFoundError):
            sdk("fine_tuning.jobs.checkpoints.list", job.id, after=strange)


def test_whole_way_from_file_to_model(api: Api, sdk: Sdk, trained: Trained) -> None:
    job = create(sdk)
    held = api.claim()
    progress = {"step": 4, "characters": 132, "ratio": 0.5, "eta_seconds": 60.0}
    held.write(fields={"progress": progress}, events=[("metrics", {"step": 4, "train_loss": 1.5})])
    running = sdk("fine_tuning.jobs.retrieve", job.id)
    assert running.status == "running"
    assert 0 <= running.estimated_finish - running.created_at - 60 <= 30
    api.publish(held, trained, 4)
    held.finish("succeeded", trained.manifest.parameters_sha256)
    done = sdk("fine_tuning.jobs.retrieve", job.id)
    assert (done.status, done.fine_tuned_model, done.trained_tokens) == ("succeeded", job.id, 132)
    assert done.estimated_finish is None
    (checkpoint,) = sdk.all("fine_tuning.jobs.checkpoints.list", job.id)
    models = {name: sdk("models.retrieve", name) for name in (done.fine_tuned_model, checkpoint.id)}
    assert {model.step for model in models.values()} == {4}
    assert [model.id for model in sdk.all("models.list")] == [job.id]


def test_strangers_job_is_not_there(api: Api) -> None:
    job = api.submit()["id"]
    with api.other_tenant() as stranger:
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/checkpoints"), ("POST", "/cancel")):
            assert stranger.request(method, f"/v1/fine_tuning/jobs/{job}{path}").status_code == 404
        assert stranger.get("/v1/fine_tuning/jobs").json()["data"] == []
