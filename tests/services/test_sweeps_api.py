"""Sweeps over HTTP: what is taken, what is refused and how it is named, and who may see what."""

import json
from typing import Any

import pytest
from api_service import SMALL_TRAIN, Api
from sweep_samples import RATES, body, create, good, sweeper, trials

from services.jobqueue import keys
from services.jobqueue.sweeps import MOST_UNFINISHED, Sweeps

UNKNOWN = "sweep-0123456789abcdef"


def refused(api: Api, asked: dict[str, Any], status: int) -> dict[str, Any]:
    answer = api.client.post("/v1/sweeps", json=asked)
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_sweep_is_answered_as_it_was_asked_for_with_every_default(api: Api) -> None:
    made = create(api, name="rates", metadata={"a": "b"})
    assert (made["object"], made["state"], made["num_trials"], made["tenant"]) == ("sweep", "running", 0, "default")
    assert made["spec"]["spec"]["train"]["learning_rate"] == 0.004
    assert made["spec"]["parameters"] == {"train.learning_rate": {"min": 1e-4, "max": 0.1, "log": True, "step": None}}
    assert made["spec"]["replicates"] == 1
    told = good(api.client.get(f"/v1/sweeps/{made['id']}"))
    assert {name: told[name] for name in made} | {"num_trials": 0} == made
    assert (told["best"], told["points"], told["worker_seconds"]) == (None, [], 0.0)


@pytest.mark.parametrize(
    ("changes", "param", "told"),
    [
        ({"parameters": {"train.rate": {"min": 0, "max": 1}}}, "parameters.train.rate", "no field of a JobSpec"),
        ({"parameters": {"train.seed": {"min": 2, "max": 1}}}, "parameters.train.seed", "exchange them"),
        ({"parameters": {"model.cell": {"values": ["x"]}}}, "parameters.model.cell", "'rnn', 'lstm' or 'gru'"),
        ({"parameters": {}}, "parameters", "at least 1"),
        ({"replicates": 21}, "replicates", "20"),
        ({"max_parallel": 0}, "max_parallel", "1"),
        ({"budget": {"max_trials": 1001}}, "budget.max_trials", "1000"),
        ({"budget": {"max_hours": 1}}, "budget.max_hours", "not permitted"),
        ({"search": {"method": "bayes"}}, "search.method", "'grid', 'random' or 'tpe'"),
        ({"promote_to": "job-0123456789abcdef"}, "promote_to", "cannot be an alias"),
        ({"early_stopping": {"min_steps": 1, "factor": 1}}, "early_stopping.factor", "2"),
        ({"trials": 3}, "trials", "not permitted"),
    ],
)
def test_bad_field_is_named_with_its_limit(api: Api, changes: dict[str, Any], param: str, told: str) -> None:
    error = refused(api, body(api) | changes, 422)
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert told in error["message"]
    assert api.client.get("/v1/sweeps").json()["data"] == []


def test_fault_of_the_job_itself_is_told_before_the_first_trial(api: Api) -> None:
    asked = body(api)
    asked["spec"]["train"] = SMALL_TRAIN | {"batch_size": 4096, "validate_every_steps": 1}
    error = refused(api, asked, 422)
    assert error["param"] == "spec.train.batch_size"
    assert "too short for batch_size=4096" in error["message"]
    asked["spec"] = {"dataset": "ds-" + "0" * 32}
    assert refused(api, asked, 404)["param"] == "spec.dataset"
    asked["spec"] = {"dataset": "ds-" + "0" * 32, "train": {"max_step": 1}}
    assert refused(api, asked, 422)["param"] == "spec.train.max_step"


def test_same_key_answers_the_same_sweep_and_refuses_another_body(api: Api) -> None:
    asked, key = body(api), {"Idempotency-Key": "k"}
    first = good(api.client.post("/v1/sweeps", json=asked, headers=key))
    assert good(api.client.post("/v1/sweeps", json=asked, headers=key)) == first
    assert good(api.client.post("/v1/sweeps", json=asked))["id"] != first["id"]
    answer = api.client.post("/v1/sweeps", json=asked | {"replicates": 2}, headers=key)
    assert (answer.status_code, answer.json()["error"]["param"]) == (409, "Idempotency-Key")
    assert first["id"] in answer.json()["error"]["message"]
    assert api.client.post("/v1/jobs", json=asked["spec"], headers=key).status_code == 409
    assert len(api.client.get("/v1/sweeps").json()["data"]) == 2


def test_lists_are_paged(api: Api) -> None:
    made = [create(api)["id"] for _ in range(3)]
    first = good(api.client.get("/v1/sweeps", params={"limit": 2}))
    assert ([sweep["id"] for sweep in first["data"]], first["has_more"]) == ([made[2], made[1]], True)
    rest = good(api.client.get("/v1/sweeps", params={"after": first["last_id"]}))
    assert ([sweep["id"] for sweep in rest["data"]], rest["has_more"]) == ([made[0]], False)
    assert api.client.get("/v1/sweeps", params={"after": UNKNOWN}).status_code == 404
    sweeper(api).step()
    page = good(api.client.get(f"/v1/sweeps/{made[0]}/trials", params={"limit": 1}))
    assert ([trial["number"] for trial in page["data"]], page["has_more"]) == ([0], True)
    page = good(api.client.get(f"/v1/sweeps/{made[0]}/trials", params={"after": page["last_id"], "state": "queued"}))
    assert ([trial["number"] for trial in page["data"]], page["has_more"]) == ([1], False)
    assert good(api.client.get(f"/v1/sweeps/{made[0]}/trials", params={"state": "failed"}))["data"] == []


def test_sweep_of_another_tenant_is_unknown(api: Api) -> None:
    sweep = create(api)["id"]
    with api.other_tenant() as other:
        for method, path in (("GET", ""), ("GET", "/trials"), ("POST", "/cancel")):
            theirs = other.request(method, f"/v1/sweeps/{sweep}{path}")
            unknown = other.request(method, f"/v1/sweeps/{UNKNOWN}{path}")
            assert theirs.status_code == unknown.status_code == 404
            assert theirs.text.replace(sweep, UNKNOWN) == unknown.text
        assert other.get("/v1/sweeps").json()["data"] == []
        assert other.post("/v1/sweeps", json=body(api)).status_code == 404, "nor may it train on another's data"
    assert good(api.client.get(f"/v1/sweeps/{sweep}"))["cancel_requested"] is False


def test_there_is_an_end_to_unfinished_sweeps(api: Api) -> None:
    asked = body(api)
    for _ in range(MOST_UNFINISHED):
        good(api.client.post("/v1/sweeps", json=asked))
    assert f"{MOST_UNFINISHED} sweeps" in refused(api, asked, 409)["message"]


def test_sweep_that_has_ended_is_deleted_and_its_jobs_stay(api: Api) -> None:
    sweep = create(api)["id"]
    sweeper(api).step()
    (first, second) = trials(api, sweep)
    answer = api.client.delete(f"/v1/sweeps/{sweep}")
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        409,
        f"{sweep} is running; cancel it before deleting it",
    )
    good(api.client.post(f"/v1/sweeps/{sweep}/cancel"))
    sweeper(api).step()
    with api.other_tenant() as other:
        assert other.delete(f"/v1/sweeps/{sweep}").status_code == 404
    assert good(api.client.delete(f"/v1/sweeps/{sweep}")) == {"id": sweep, "object": "sweep", "deleted": True}
    assert api.client.get(f"/v1/sweeps/{sweep}").status_code == 404
    assert api.client.delete(f"/v1/sweeps/{sweep}").status_code == 404
    assert good(api.client.get("/v1/sweeps"))["data"] == []
    assert api.scripts.redis.keys("*" + sweep) == []
    assert api.scripts.redis.zrange("{unroll}:sweeps_ended", 0, -1) == []
    assert [api.queue.job("default", trial["job"]).state for trial in (first, second)] == ["cancelled"] * 2


def test_altered_sweep_is_not_run(api: Api) -> None:
    sweep = create(api)["id"]
    raw = json.loads(api.scripts.redis.hget(keys.sweep(sweep), "spec"))
    spec, signature = api.scripts.redis.hmget(keys.sweep(sweep), "spec", "signature")
    api.scripts.redis.hset(
        keys.sweep(sweep), "spec", json.dumps(raw | {"parameters": RATES | {"priority": {"values": [9]}}})
    )
    sweeper(api).step()
    told = good(api.client.get(f"/v1/sweeps/{sweep}"))
    assert (told["state"], told["spec"]) == ("failed", None)
    assert "altered" in told["error"]
    assert trials(api, sweep) == []
    api.scripts.redis.hset(keys.sweep(sweep), mapping={"spec": spec, "signature": signature})  # for the audit


def test_all_trials_start_from_the_model_that_was_best_when_the_sweep_was_asked_for(api: Api, model: str) -> None:
    asked = body(api)
    asked["spec"] |= {"init_from": model}
    made = good(api.client.post("/v1/sweeps", json=asked))
    assert made["spec"]["spec"]["init_from"] == f"{model}:step-4"
    assert Sweeps(api.scripts).get("default", made["id"]).spec is not None
    sweeper(api).step()
    jobs = [api.queue.job("default", trial["job"]) for trial in trials(api, made["id"])]
    assert {job.asked().init_from for job in jobs} == {f"{model}:step-4"}
