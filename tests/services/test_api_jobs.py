"""Jobs over HTTP: what is taken, what is refused and how it is named, and what can be read of a job."""

import json
from typing import Any

import httpx
import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, TEXT, Api, Trained

from services import layout
from services.storage import History

UNKNOWN = "job-0123456789abcdef"
DATASET = "ds-" + "0" * 32


def post(api: Api, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return api.client.post("/v1/jobs", content=content, headers=headers)


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_submitted_job_answers_with_every_default_resolved(api: Api) -> None:
    dataset = api.upload(TEXT * 2)["id"]
    job = post(api, {"dataset": dataset, "metadata": {"a": "b"}}).json()
    assert (job["object"], job["state"], job["tenant"]) == ("job", "queued", "default")
    assert job["queue"] == {"position": 1, "reason": "no_free_worker", "blocked_by": [], "eta_seconds": None}
    assert job["spec"]["train"]["max_steps"] == 5000
    assert job["spec"]["model"]["cell"] == "lstm"
    assert api.client.get(f"/v1/jobs/{job['id']}").json() == job


@pytest.mark.parametrize(
    ("changes", "param", "told"),
    [
        ({"model": {"hidden_size": 10**9}}, "model.hidden_size", "4096"),
        ({"model": {"hidden_size": 0}}, "model.hidden_size", "1"),
        ({"train": {"tbptt_steps": 10**8}}, "train.tbptt_steps", "4096"),
        ({"train": {"learning_rate": "NaN"}}, "train.learning_rate", "finite"),
        ({"train": {"batch_size": "many"}}, "train.batch_size", "integer"),
        ({"priority": 10}, "priority", "9"),
        ({"max_attempts": 21}, "max_attempts", "20"),
        ({"hidden_size": 7}, "hidden_size", "not permitted"),
        ({"model": {"size": 7}}, "model.size", "not permitted"),
        ({"model": {"cell": "transformer"}}, "model.cell", "'rnn', 'lstm' or 'gru'"),
        ({"model": {"tie_weights": True}}, "model", "set embedding_size to 256"),
        ({"dataset": "../../etc/passwd"}, "dataset", "pattern"),
        ({"name": "\ud800"}, "name", "string"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "16"),
        ({"train": {"sample_prompts": ["x"] * 5}}, "train.sample_prompts", "4"),
    ],
)
def test_bad_field_is_named_with_its_limit(api: Api, changes: dict[str, Any], param: str, told: str) -> None:
    error = error_of(post(api, {"dataset": DATASET} | changes), 422)
    assert error["param"] == param
    assert told in error["message"]
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_number_that_is_none_is_named(api: Api, literal: str) -> None:
    body = f'{{"dataset": "{DATASET}", "train": {{"learning_rate": {literal}}}}}'
    assert error_of(post(api, body), 422)["param"] == "train.learning_rate"


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '"x"', "[" * 50_000, '{"a":' * 50_000, "9" * 5_000, "\x00", '{"\\ud800": 1}']
)
def test_body_that_is_no_job_is_refused(api: Api, body: str) -> None:
    answer = post(api, body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_text_too_short_for_the_job_is_told_what_would_do(api: Api) -> None:
    dataset = api.upload("abcdefghij" * 10)["id"]
    error = error_of(post(api, {"dataset": dataset, "train": {"batch_size": 7, "tbptt_steps": 13}}), 422)
    assert error["param"] == "train.batch_size"
    assert (
        "training part of 90 symbols is too short for batch_size=7 x tbptt_steps=13; need at least 92"
        in (error["message"])
    )


def test_symbol_of_the_tail_that_training_never_sees_is_named_with_its_offset(api: Api) -> None:
    dataset = api.upload("ab" * 500 + "é")["id"]
    error = error_of(post(api, {"dataset": dataset, "train": SMALL_TRAIN}), 422)
    assert error["param"] == "dataset"
    assert "symbol 'é' (U+00E9) at offset 1000 is not in the vocabulary" in error["message"]


def test_symbol_of_the_tail_is_fine_where_unknown_is_allowed(api: Api) -> None:
    dataset = api.upload("ab" * 500 + "é")["id"]
    assert api.submit(dataset, model={**SMALL_MODEL, "unknown": True})["state"] == "queued"


def test_sample_prompt_outside_the_vocabulary_is_named(api: Api) -> None:
    dataset = api.upload("ab" * 500)["id"]
    body = {"dataset": dataset, "train": SMALL_TRAIN | {"sample_prompts": ["ab", "aXb"]}}
    error = error_of(post(api, body), 422)
    assert "symbol 'X' (U+0058) at offset 1" in error["message"]
    assert error["param"].startswith("train.sample_prompts")


@pytest.mark.parametrize("field", ["dataset", "validation_dataset"])
def test_unknown_data_set_is_404_by_its_field(api: Api, field: str) -> None:
    body = {"dataset": api.upload()["id"], "train": SMALL_TRAIN} | {field: DATASET}
    assert error_of(post(api, body), 404)["param"] == field


def test_refused_job_leaves_no_trace(api: Api) -> None:
    error_of(post(api, {"dataset": DATASET}), 404)
    assert api.client.get("/v1/jobs").json()["data"] == []


def test_same_idempotency_key_answers_the_same_job(api: Api) -> None:
    body = {"dataset": api.upload()["id"], "model": SMALL_MODEL, "train": SMALL_TRAIN}
    first = post(api, body, idempotency_key="k").json()
    assert post(api, body, idempotency_key="k").json()["id"] == first["id"]
    assert post(api, body, idempotency_key="other").json()["id"] != first["id"]
    error = error_of(post(api, body | {"priority": 9}, idempotency_key="k"), 409)
    assert error["param"] == "Idempotency-Key"
    assert len(api.client.get("/v1/jobs").json()["data"]) == 2


def test_idempotency_key_of_a_novel_is_refused(api: Api) -> None:
    error = error_of(post(api, {"dataset": DATASET}, idempotency_key="k" * 201), 422)
    assert error["param"] == "idempotency-key"


def test_jobs_are_listed_newest_first_to_the_end(api: Api) -> None:
    dataset = api.upload()["id"]
    ids = [api.submit(dataset)["id"] for _ in range(5)][::-1]
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = api.client.get("/v1/jobs", params={"limit": 2, **after}).json()
        seen += [job["id"] for job in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
    assert seen == ids
    assert api.client.get("/v1/jobs", params={"after": seen[-1]}).json()["data"] == []


def test_jobs_are_filtered_by_state_and_metadata(api: Api) -> None:
    dataset = api.upload()["id"]
    wanted = api.submit(dataset, metadata={"run": "7", "x": "y"})["id"]
    api.submit(dataset, metadata={"run": "8"})
    api.client.post(f"/v1/jobs/{api.submit(dataset, metadata={'run': '7'})['id']}/cancel")
    found = api.client.get("/v1/jobs", params={"state": "queued", "metadata[run]": "7"}).json()
    assert [job["id"] for job in found["data"]] == [wanted]
    assert error_of(api.client.get("/v1/jobs", params={"state": "tired"}), 422)["param"] == "state"


def test_cancel_of_a_queued_job_answers_the_cancelled_record_however_often(api: Api) -> None:
    path = f"/v1/jobs/{api.submit()['id']}/cancel"
    first = api.client.post(path).json()
    assert first["state"] == "cancelled"
    assert api.client.post(path).json() == first


def test_cancel_of_a_running_job_says_that_it_is_asked_for(api: Api) -> None:
    api.submit()
    job = api.claim()
    record = api.client.post(f"/v1/jobs/{job.claim.job}/cancel").json()
    assert (record["state"], record["cancel_requested"]) == ("running", True)


def test_pause_and_resume_answer_the_record_however_often(api: Api) -> None:
    path = f"/v1/jobs/{api.submit()['id']}"
    for how, state in (("pause", "paused"), ("pause", "paused"), ("resume", "queued"), ("resume", "queued")):
        answer = api.client.post(f"{path}/{how}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    api.claim()
    assert api.client.post(f"{path}/pause").json()["state"] == "pausing"
    assert api.client.post(f"{path}/resume").json()["state"] == "running"
    assert api.client.get("/v1/jobs", params={"state": "pausing"}).json()["data"] == []


def ended(api: Api, **changes: Any) -> str:
    job = api.submit(**changes)["id"]
    api.client.post(f"/v1/jobs/{job}/cancel")
    return str(job)


def test_retry_is_a_new_job_with_the_changes_and_one_for_one_key(api: Api) -> None:
    source = ended(api, name="first", priority=2)
    before = api.client.get(f"/v1/jobs/{source}").json()["spec"]
    changes = {"train": {"max_steps": 99, "learning_rate": 0.001}, "name": "second"}
    headers = {"idempotency-key": "again"}
    job = api.client.post(f"/v1/jobs/{source}/retry", json=changes, headers=headers).json()
    assert job["state"] == "queued"
    assert job["id"] != source
    expected = before | {"name": "second", "retry_of": source, "train": before["train"] | changes["train"]}
    assert job["spec"] == expected
    assert api.client.post(f"/v1/jobs/{source}/retry", json=changes, headers=headers).json()["id"] == job["id"]
    unchanged = api.client.post(f"/v1/jobs/{source}/retry").json()
    assert unchanged["spec"] == before | {"retry_of": source}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": {"hidden_size": 99}}, "model"),
        ({"train": {"batch_size": 2}}, "train.batch_size"),
        ({"train": {"tbptt_steps": 12}}, "train.tbptt_steps"),
        ({"dataset": DATASET}, "dataset"),
        ({"train": {"max_steps": 0}}, "train.max_steps"),
        ({"train": {"steps": 5}}, "train.steps"),
        ({"train": 5}, "train"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_retry_refuses_by_name_what_the_checkpoint_fixes_and_what_is_no_field(
    api: Api, changes: dict[str, Any], param: str
) -> None:
    error = error_of(api.client.post(f"/v1/jobs/{ended(api)}/retry", json=changes), 422)
    assert error["param"] == param


def test_retry_of_a_job_that_has_not_ended_or_used_up_its_limits_is_a_conflict(api: Api) -> None:
    waiting = api.submit()["id"]
    assert "is queued" in error_of(api.client.post(f"/v1/jobs/{waiting}/retry"), 409)["message"]
    job = api.claim()
    job.finish("succeeded", "0" * 64)
    error = error_of(api.client.post(f"/v1/jobs/{waiting}/retry", json={"name": "again"}), 409)
    assert "raise train.max_steps" in error["message"]
    assert api.client.post(f"/v1/jobs/{waiting}/retry", json={"train": {"max_steps": 999}}).status_code == 200


def test_steering_a_strangers_job_is_404(api: Api) -> None:
    job = api.submit()["id"]
    with api.other_tenant() as stranger:
        for how in ("pause", "resume", "retry", "cancel"):
            error_of(stranger.post(f"/v1/jobs/{job}/{how}"), 404)
    assert api.client.get(f"/v1/jobs/{job}").json()["state"] == "queued"


def test_deleted_job_takes_its_files_along(api: Api, trained: Trained) -> None:
    record = api.submit()
    job = api.claim()
    api.publish(job, trained, 4)
    path = f"/v1/jobs/{record['id']}"
    assert error_of(api.client.delete(path), 409)["message"].startswith(f"{record['id']} is running")
    job.finish("succeeded")
    assert api.client.delete(path).json() == {"id": record["id"], "object": "job", "deleted": True}
    assert [name for name in api.stored() if record["id"] in name] == []
    assert api.client.get(path).status_code == 404


def test_init_from_takes_the_shape_and_is_pinned_to_the_step(api: Api, model: str) -> None:
    dataset = api.client.get(f"/v1/jobs/{model}").json()["spec"]["dataset"]
    job = api.submit(dataset, init_from=model, model={"dropout": 0.25})
    assert job["spec"]["init_from"] == f"{model}:step-4"
    assert {name: job["spec"]["model"][name] for name in SMALL_MODEL} == SMALL_MODEL
    assert job["spec"]["model"]["dropout"] == 0.25


def test_init_from_of_another_shape_is_422_by_the_field(api: Api, model: str) -> None:
    dataset = api.client.get(f"/v1/jobs/{model}").json()["spec"]["dataset"]
    body = {"dataset": dataset, "init_from": model, "model": {"hidden_size": 11}, "train": SMALL_TRAIN}
    error = error_of(post(api, body), 422)
    assert error["param"] == "model.hidden_size"
    assert f"model.hidden_size is 11, but init_from={model}:step-4 has 7" in error["message"]


def test_init_from_of_another_vocabulary_names_the_first_symbol_it_lacks(api: Api, model: str) -> None:
    dataset = api.upload("the cat XYZ" * 99)["id"]
    error = error_of(post(api, {"dataset": dataset, "init_from": model, "train": SMALL_TRAIN}), 422)
    assert "symbol 'X' (U+0058) at offset 8" in error["message"]


@pytest.mark.parametrize("name", [UNKNOWN, f"{UNKNOWN}:latest", "somebody", "..", "job-x:step-99999999999999"])
def test_init_from_of_no_model_is_refused(api: Api, name: str) -> None:
    body = {"dataset": api.upload()["id"], "init_from": name, "train": SMALL_TRAIN}
    assert post(api, body).status_code in (404, 422)


def test_metrics_of_several_epochs_are_one_curve(api: Api) -> None:
    job = api.submit()["id"]
    folder = layout.metrics(job)
    for epoch, steps in ((1, range(1, 7)), (2, range(4, 6)), (4, range(5, 9))):
        history = History(api.storage, folder, epoch)
        for step in steps:
            history.add({"epoch": epoch, "step": step, "train_loss": 1.0})
        history.flush()
    path = f"/v1/jobs/{job}/metrics"
    curve = [(1, 1), (1, 2), (1, 3), (2, 4), (4, 5), (4, 6), (4, 7), (4, 8)]
    assert [(row["epoch"], row["step"]) for row in api.client.get(path).json()["data"]] == curve
    behind = api.client.get(path, params={"after": 6}).json()
    assert [(row["epoch"], row["step"]) for row in behind["data"]] == [(4, 7), (4, 8)]
    assert (behind["first_id"], behind["last_id"], behind["has_more"]) == ("4-7", "4-8", False)


def test_thinned_metrics_keep_every_extreme_and_every_validation(api: Api) -> None:
    job = api.submit()["id"]
    history = History(api.storage, layout.metrics(job), 1)
    losses = dict.fromkeys(range(1, 1001), 2.0) | {137: 9.0, 138: 0.5, 901: 8.0}
    for step, loss in losses.items():
        validation = 1.25 if step in (333, 666) else None
        history.add({"epoch": 1, "step": step, "train_loss": loss, "validation_loss": validation})
    history.flush()
    rows = api.client.get(f"/v1/jobs/{job}/metrics", params={"points": 10}).json()["data"]
    steps = [row["step"] for row in rows]
    assert {1, 137, 138, 333, 666, 901, 1000} <= set(steps)
    assert steps == sorted(steps)
    assert len(steps) <= 10 + 4
    assert len(api.client.get(f"/v1/jobs/{job}/metrics").json()["data"]) == 1000


@pytest.mark.parametrize("params", [{"points": 1}, {"points": 10**9}, {"after": -1}, {"after": "x"}])
def test_bad_question_for_metrics_is_422(api: Api, params: dict[str, Any]) -> None:
    job = api.submit()["id"]
    answer = api.client.get(f"/v1/jobs/{job}/metrics", params=params)
    assert error_of(answer, 422)["param"] == next(iter(params))


def test_job_without_history_has_empty_metrics_logs_and_checkpoints(api: Api) -> None:
    path = f"/v1/jobs/{api.submit()['id']}"
    assert api.client.get(f"{path}/metrics").json()["data"] == []
    assert api.client.get(f"{path}/logs").text == ""
    assert api.client.get(f"{path}/checkpoints").json()["data"] == []


def test_logs_of_every_attempt_are_one_text(api: Api) -> None:
    job = api.submit()["id"]
    for epoch, line in ((1, "first é\u2028"), (2, "second")):
        history = History(api.storage, layout.logs(job), epoch)
        history.add({"line": line})
        history.flush()
    answer = api.client.get(f"/v1/jobs/{job}/logs")
    assert answer.content.decode() == "first é\u2028\nsecond\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_logs_may_be_asked_for_past_a_line(api: Api) -> None:
    job = api.submit()["id"]
    history = History(api.storage, layout.logs(job), 1)
    for line in ("one", "two", "three"):
        history.add({"line": line})
    history.flush()
    assert api.client.get(f"/v1/jobs/{job}/logs", params={"after": 2}).text == "three\n"
    assert api.client.get(f"/v1/jobs/{job}/logs", params={"after": 3}).text == ""


def test_samples_are_listed_by_checkpoint_and_superseded_by_a_later_attempt(api: Api) -> None:
    job = api.submit()["id"]
    for epoch, steps in ((1, (4, 8, 12)), (2, (8,))):
        history = History(api.storage, layout.samples(job), epoch)
        for step in steps:
            text = {"prompt": "a", "text": f"{epoch}-{step}"}
            history.add({"step": step, "epoch": epoch, "bits_per_character": None, "samples": [text]})
        history.flush()
    found = api.client.get(f"/v1/jobs/{job}/samples").json()
    assert [(row["step"], row["epoch"], row["samples"]) for row in found["data"]] == [
        (4, 1, [{"prompt": "a", "text": "1-4"}]),
        (8, 2, [{"prompt": "a", "text": "2-8"}]),
    ]
    assert (found["first_id"], found["last_id"], found["has_more"]) == ("1-4", "2-8", False)


def test_checkpoints_are_listed_latest_first_with_the_best_marked(api: Api, trained: Trained) -> None:
    api.submit()
    job = api.claim()
    api.publish(job, trained, 8, validation_loss=2.0)
    best = api.publish(job, trained, 4)
    found = api.client.get(f"/v1/jobs/{job.claim.job}/checkpoints").json()
    assert [(c["model"], c["is_best"], c["is_latest"]) for c in found["data"]] == [
        (f"{job.claim.job}:step-8", False, True),
        (best.model, True, False),
    ]
    assert "path" not in found["data"][0]


@pytest.mark.parametrize("suffix", ["", "/events", "/metrics", "/logs", "/checkpoints"])
def test_unknown_job_is_404(api: Api, suffix: str) -> None:
    error = error_of(api.client.get(f"/v1/jobs/{UNKNOWN}{suffix}"), 404)
    assert (error["code"], error["param"]) == ("not_found", "job_id")
