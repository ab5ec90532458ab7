"""Jobs over HTTP: what is taken, what is refused and how it is named, and what can be read of a job."""

import json
from typing import Any

import httpx
import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, TEXT, Service, Trained

from services import layout
from services.storage import History

UNKNOWN = "job-0123456789abcdef"
DATASET = "ds-" + "0" * 32


def post(service: Service, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return service.client.post("/v1/jobs", content=content, headers=headers)


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_submitted_job_answers_with_every_default_resolved(service: Service) -> None:
    dataset = service.upload(TEXT * 2)["id"]
    job = post(service, {"dataset": dataset, "metadata": {"a": "b"}}).json()
    assert (job["object"], job["state"], job["tenant"]) == ("job", "queued", "default")
    assert job["queue"] == {"position": 1, "reason": "no_free_worker"}
    assert job["spec"]["train"]["max_steps"] == 5000
    assert job["spec"]["model"]["cell"] == "lstm"
    assert service.client.get(f"/v1/jobs/{job['id']}").json() == job


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
def test_bad_field_is_named_with_its_limit(service: Service, changes: dict[str, Any], param: str, told: str) -> None:
    error = error_of(post(service, {"dataset": DATASET} | changes), 422)
    assert error["param"] == param
    assert told in error["message"]
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_number_that_is_none_is_named(service: Service, literal: str) -> None:
    body = f'{{"dataset": "{DATASET}", "train": {{"learning_rate": {literal}}}}}'
    assert error_of(post(service, body), 422)["param"] == "train.learning_rate"


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"x"', "[" * 50_000, '{"a":' * 50_000, "9" * 5_000, "\x00", '{"\\ud800": 1}'])
def test_body_that_is_no_job_is_refused(service: Service, body: str) -> None:
    answer = post(service, body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_text_too_short_for_the_job_is_told_what_would_do(service: Service) -> None:
    dataset = service.upload("abcdefghij" * 10)["id"]
    error = error_of(post(service, {"dataset": dataset, "train": {"batch_size": 7, "tbptt_steps": 13}}), 422)
    assert error["param"] == "train.batch_size"
    assert "training part of 90 symbols is too short for batch_size=7 x tbptt_steps=13; need at least 92" in (
        error["message"]
    )


def test_symbol_of_the_tail_that_training_never_sees_is_named_with_its_offset(service: Service) -> None:
    dataset = service.upload("ab" * 500 + "é")["id"]
    error = error_of(post(service, {"dataset": dataset, "train": SMALL_TRAIN}), 422)
    assert error["param"] == "dataset"
    assert "symbol 'é' (U+00E9) at offset 1000 is not in the vocabulary" in error["message"]


def test_symbol_of_the_tail_is_fine_where_unknown_is_allowed(service: Service) -> None:
    dataset = service.upload("ab" * 500 + "é")["id"]
    assert service.submit(dataset, model={**SMALL_MODEL, "unknown": True})["state"] == "queued"


def test_sample_prompt_outside_the_vocabulary_is_named(service: Service) -> None:
    dataset = service.upload("ab" * 500)["id"]
    body = {"dataset": dataset, "train": SMALL_TRAIN | {"sample_prompts": ["ab", "aXb"]}}
    error = error_of(post(service, body), 422)
    assert "symbol 'X' (U+0058) at offset 1" in error["message"]
    assert error["param"].startswith("train.sample_prompts")


@pytest.mark.parametrize("field", ["dataset", "validation_dataset"])
def test_unknown_data_set_is_404_by_its_field(service: Service, field: str) -> None:
    body = {"dataset": service.upload()["id"], "train": SMALL_TRAIN} | {field: DATASET}
    assert error_of(post(service, body), 404)["param"] == field


def test_refused_job_leaves_no_trace(service: Service) -> None:
    error_of(post(service, {"dataset": DATASET}), 404)
    assert service.client.get("/v1/jobs").json()["data"] == []


def test_same_idempotency_key_answers_the_same_job(service: Service) -> None:
    body = {"dataset": service.upload()["id"], "model": SMALL_MODEL, "train": SMALL_TRAIN}
    first = post(service, body, idempotency_key="k").json()
    assert post(service, body, idempotency_key="k").json()["id"] == first["id"]
    assert post(service, body, idempotency_key="other").json()["id"] != first["id"]
    error = error_of(post(service, body | {"priority": 9}, idempotency_key="k"), 409)
    assert error["param"] == "Idempotency-Key"
    assert len(service.client.get("/v1/jobs").json()["data"]) == 2


def test_idempotency_key_of_a_novel_is_refused(service: Service) -> None:
    error = error_of(post(service, {"dataset": DATASET}, idempotency_key="k" * 201), 422)
    assert error["param"] == "idempotency-key"


def test_jobs_are_listed_newest_first_to_the_end(service: Service) -> None:
    dataset = service.upload()["id"]
    ids = [service.submit(dataset)["id"] for _ in range(5)][::-1]
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = service.client.get("/v1/jobs", params={"limit": 2, **after}).json()
        seen += [job["id"] for job in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
    assert seen == ids
    assert service.client.get("/v1/jobs", params={"after": seen[-1]}).json()["data"] == []


def test_jobs_are_filtered_by_state_and_metadata(service: Service) -> None:
    dataset = service.upload()["id"]
    wanted = service.submit(dataset, metadata={"run": "7", "x": "y"})["id"]
    service.submit(dataset, metadata={"run": "8"})
    service.client.post(f"/v1/jobs/{service.submit(dataset, metadata={'run': '7'})['id']}/cancel")
    found = service.client.get("/v1/jobs", params={"state": "queued", "metadata[run]": "7"}).json()
    assert [job["id"] for job in found["data"]] == [wanted]
    assert error_of(service.client.get("/v1/jobs", params={"state": "tired"}), 422)["param"] == "state"


def test_cancel_of_a_queued_job_answers_the_cancelled_record_however_often(service: Service) -> None:
    path = f"/v1/jobs/{service.submit()['id']}/cancel"
    first = service.client.post(path).json()
    assert first["state"] == "cancelled"
    assert service.client.post(path).json() == first


def test_cancel_of_a_running_job_says_that_it_is_asked_for(service: Service) -> None:
    service.submit()
    job = service.claim()
    record = service.client.post(f"/v1/jobs/{job.claim.job}/cancel").json()
    assert (record["state"], record["cancel_requested"]) == ("running", True)


def test_deleted_job_takes_its_files_along(service: Service, trained: Trained) -> None:
    record = service.submit()
    job = service.claim()
    service.publish(job, trained, 4)
    path = f"/v1/jobs/{record['id']}"
    assert error_of(service.client.delete(path), 409)["message"].startswith(f"{record['id']} is running")
    job.finish("succeeded")
    assert service.client.delete(path).json() == {"id": record["id"], "object": "job", "deleted": True}
    assert [name for name in service.stored() if record["id"] in name] == []
    assert service.client.get(path).status_code == 404


def test_init_from_takes_the_shape_and_is_pinned_to_the_step(service: Service, model: str) -> None:
    dataset = service.client.get(f"/v1/jobs/{model}").json()["spec"]["dataset"]
    job = service.submit(dataset, init_from=model, model={"dropout": 0.25})
    assert job["spec"]["init_from"] == f"{model}:step-4"
    assert {name: job["spec"]["model"][name] for name in SMALL_MODEL} == SMALL_MODEL
    assert job["spec"]["model"]["dropout"] == 0.25


def test_init_from_of_another_shape_is_422_by_the_field(service: Service, model: str) -> None:
    dataset = service.client.get(f"/v1/jobs/{model}").json()["spec"]["dataset"]
    body = {"dataset": dataset, "init_from": model, "model": {"hidden_size": 11}, "train": SMALL_TRAIN}
    error = error_of(post(service, body), 422)
    assert error["param"] == "model.hidden_size"
    assert f"model.hidden_size is 11, but init_from={model}:step-4 has 7" in error["message"]


def test_init_from_of_another_vocabulary_names_the_first_symbol_it_lacks(service: Service, model: str) -> None:
    dataset = service.upload("the cat XYZ" * 99)["id"]
    error = error_of(post(service, {"dataset": dataset, "init_from": model, "train": SMALL_TRAIN}), 422)
    assert "symbol 'X' (U+0058) at offset 8" in error["message"]


@pytest.mark.parametrize("name", [UNKNOWN, f"{UNKNOWN}:latest", "somebody", "..", "job-x:step-99999999999999"])
def test_init_from_of_no_model_is_refused(service: Service, name: str) -> None:
    body = {"dataset": service.upload()["id"], "init_from": name, "train": SMALL_TRAIN}
    assert post(service, body).status_code in (404, 422)


def test_metrics_of_several_epochs_are_one_curve(service: Service) -> None:
    job = service.submit()["id"]
    folder = layout.metrics(job)
    for epoch, steps in ((1, range(1, 7)), (2, range(4, 6)), (4, range(5, 9))):
        history = History(service.storage, folder, epoch)
        for step in steps:
            history.add({"epoch": epoch, "step": step, "train_loss": 1.0})
        history.flush()
    path = f"/v1/jobs/{job}/metrics"
    curve = [(1, 1), (1, 2), (1, 3), (2, 4), (4, 5), (4, 6), (4, 7), (4, 8)]
    assert [(row["epoch"], row["step"]) for row in service.client.get(path).json()["data"]] == curve
    behind = service.client.get(path, params={"after": 6}).json()
    assert [(row["epoch"], row["step"]) for row in behind["data"]] == [(4, 7), (4, 8)]
    assert (behind["first_id"], behind["last_id"], behind["has_more"]) == ("4-7", "4-8", False)


def test_thinned_metrics_keep_every_extreme_and_every_validation(service: Service) -> None:
    job = service.submit()["id"]
    history = History(service.storage, layout.metrics(job), 1)
    losses = {step: 2.0 for step in range(1, 1001)} | {137: 9.0, 138: 0.5, 901: 8.0}
    for step, loss in losses.items():
        validation = 1.25 if step in (333, 666) else None
        history.add({"epoch": 1, "step": step, "train_loss": loss, "validation_loss": validation})
    history.flush()
    rows = service.client.get(f"/v1/jobs/{job}/metrics", params={"points": 10}).json()["data"]
    steps = [row["step"] for row in rows]
    assert {1, 137, 138, 333, 666, 901, 1000} <= set(steps)
    assert steps == sorted(steps)
    assert len(steps) <= 10 + 4
    assert len(service.client.get(f"/v1/jobs/{job}/metrics").json()["data"]) == 1000


@pytest.mark.parametrize("params", [{"points": 1}, {"points": 10**9}, {"after": -1}, {"after": "x"}])
def test_bad_question_for_metrics_is_422(service: Service, params: dict[str, Any]) -> None:
    job = service.submit()["id"]
    answer = service.client.get(f"/v1/jobs/{job}/metrics", params=params)
    assert error_of(answer, 422)["param"] == next(iter(params))


def test_job_without_history_has_empty_metrics_logs_and_checkpoints(service: Service) -> None:
    path = f"/v1/jobs/{service.submit()['id']}"
    assert service.client.get(f"{path}/metrics").json()["data"] == []
    assert service.client.get(f"{path}/logs").text == ""
    assert service.client.get(f"{path}/checkpoints").json()["data"] == []


def test_logs_of_every_attempt_are_one_text(service: Service) -> None:
    job = service.submit()["id"]
    for epoch, line in ((1, "first é\u2028"), (2, "second")):
        history = History(service.storage, layout.logs(job), epoch)
        history.add({"line": line})
        history.flush()
    answer = service.client.get(f"/v1/jobs/{job}/logs")
    assert answer.content.decode() == "first é\u2028\nsecond\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_checkpoints_are_listed_latest_first_with_the_best_marked(service: Service, trained: Trained) -> None:
    service.submit()
    job = service.claim()
    service.publish(job, trained, 8, validation_loss=2.0)
    best = service.publish(job, trained, 4)
    found = service.client.get(f"/v1/jobs/{job.claim.job}/checkpoints").json()
    assert [(c["model"], c["is_best"], c["is_latest"]) for c in found["data"]] == [
        (f"{job.claim.job}:step-8", False, True),
        (best.model, True, False),
    ]
    assert "path" not in found["data"][0]


@pytest.mark.parametrize("suffix", ["", "/events", "/metrics", "/logs", "/checkpoints"])
def test_unknown_job_is_404(service: Service, suffix: str) -> None:
    error = error_of(service.client.get(f"/v1/jobs/{UNKNOWN}{suffix}"), 404)
    assert (error["code"], error["param"]) == ("not_found", "job_id")
