"""Models: what is listed and under which names, aliases, and what may be deleted."""

from typing import Any

import httpx
import openai
import pytest
from api_service import SMALL_TRAIN, Api, Trained
from openai_sdk import Sdk, sdk_of
from unroll import Client

from rnncore.errors import NotFound
from rnncore.spec import JobSpec
from services.jobqueue import aliases, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.sweeps import Sweeps
from services.retention import trim

UNKNOWN = "job-0123456789abcdef"


def put(api: Api, alias: str, model: str) -> httpx.Response:
    return api.client.put(f"/v1/models/{alias}", json={"model": model})


def error_of(answer: httpx.Response, status: int) -> tuple[str | None, str]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    return error["param"], error["message"]


def running(api: Api, trained: Trained, *steps: int, **changes: Any) -> tuple[str, ClaimedJob]:
    """A job with checkpoints at `steps`, the last one being its best."""
    api.submit(**changes)
    job = api.claim()
    for step in steps:
        api.publish(job, trained, step)
    return job.claim.job, job


def finished(api: Api, trained: Trained, *steps: int) -> str:
    name, job = running(api, trained, *steps)
    job.finish("succeeded")
    return name


def listed(api: Api, **params: Any) -> list[str]:
    return [model["id"] for model in api.client.get("/v1/models", params=params).json()["data"]]


def folders(api: Api, job: str) -> list[int]:
    """Steps of which files are stored."""
    return sorted({int(name.split("/")[3].partition("-")[0]) for name in api.stored() if f"{job}/checkpoints" in name})


def test_aliases_are_listed_before_models_the_newest_first(api: Api, sdk: Sdk, trained: Trained) -> None:
    jobs = [finished(api, trained, 4 + number) for number in range(3)]
    running(api, trained, 9)
    for name, model in (("first", jobs[2]), ("second", f"{jobs[0]}:step-4"), ("third", f"{jobs[1]}:latest")):
        put(api, name, model)
    models = sdk.all("models.list")
    assert [(model.id, model.alias_of, model.step) for model in models] == [
        ("third", f"{jobs[1]}:latest", 5),
        ("second", f"{jobs[0]}:step-4", 4),
        ("first", jobs[2], 6),
        *((job, None, step) for job, step in zip(jobs[::-1], (6, 5, 4), strict=True)),
    ]
    assert [sdk("models.retrieve", model.id) for model in models] == models


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7])
def test_loop_over_pages_of_models_ends(api: Api, trained: Trained, limit: int) -> None:
    jobs = [finished(api, trained, 4) for _ in range(3)]
    for name in ("a", "b", "c"):
        put(api, name, jobs[0])
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = api.client.get("/v1/models", params={"limit": limit, **after}).json()
        assert len(page["data"]) <= limit
        seen += [model["id"] for model in page["data"]]
    assert seen == ["c", "b", "a", *jobs[::-1]]
    with Client(api.url, api.key) as client:
        assert [model.id for model in client.models.list()] == seen
    assert error_of(api.client.get("/v1/models", params={"after": "nobody"}), 404)[0] == "after"


def test_alias_is_moved_and_answers_for_what_it_stands_for_now(api: Api, trained: Trained) -> None:
    one, other = finished(api, trained, 4, 8), finished(api, trained, 15)
    made = put(api, "favourite", f"{one}:step-4").json()
    assert (made["id"], made["alias_of"], made["job"], made["step"]) == ("favourite", f"{one}:step-4", one, 4)
    assert put(api, "favourite", other).json()["step"] == 15
    assert api.client.get("/v1/models/favourite").json()["alias_of"] == other
    assert listed(api)[0] == "favourite"
    body = {"dataset": api.upload()["id"], "train": SMALL_TRAIN, "init_from": "favourite"}
    assert api.client.post("/v1/jobs", json=body).json()["spec"]["init_from"] == f"{other}:step-15"
    assert api.client.get("/v1/models/favourite/export").status_code == 200


def test_alias_of_an_alias_stands_for_what_that_one_stood_for(api: Api, trained: Trained) -> None:
    one, other = finished(api, trained, 4), finished(api, trained, 8)
    put(api, "a", one)
    assert put(api, "b", "a").json()["alias_of"] == one
    put(api, "a", other)
    assert api.client.get("/v1/models/b").json()["alias_of"] == one


@pytest.mark.parametrize(
    "name", ["rnn", "lstm", "gru", "job-x", UNKNOWN, "a:b", "-a", ".", "a b", "a%0A", "\u00e9", "x" * 101]
)
def test_name_that_could_be_mistaken_is_no_alias(api: Api, model: str, name: str) -> None:
    answer = put(api, name, model)
    assert answer.status_code in (404, 405, 422)
    if answer.status_code == 422:
        assert answer.json()["error"]["param"] == "model_id"
    assert api.queue.aliases.list("default") == []


def test_alias_stands_for_something_that_is_there(api: Api, model: str) -> None:
    queued = api.submit()["id"]
    for name in (UNKNOWN, f"{model}:step-5", queued, "nobody"):
        assert error_of(put(api, "a", name), 404)[0] == "model"
    assert error_of(put(api, "a", "../x"), 422)[0] == "model"
    body = {"model": model, "step": 4}
    assert error_of(api.client.put("/v1/models/a", json=body), 422)[0] == "step"
    assert listed(api) == []


def test_model_that_went_while_its_alias_was_made_gets_none(api: Api, model: str) -> None:
    """The API has seen it before; the queue looks again."""
    for tenant, name in (("default", f"{model}:step-5"), ("default", UNKNOWN), ("other", model)):
        with pytest.raises(NotFound, match=name):
            api.queue.aliases.put(tenant, "favourite", name)
        assert api.queue.aliases.list(tenant) == []


def test_alias_is_of_one_tenant(api: Api, model: str) -> None:
    put(api, "favourite", model)
    with api.other_tenant() as stranger:
        assert stranger.get("/v1/models").json()["data"] == []
        for method in ("GET", "DELETE"):
            assert stranger.request(method, "/v1/models/favourite").status_code == 404
        assert stranger.put("/v1/models/favourite", json={"model": model}).status_code == 404
        for name in (model, f"{model}:step-4"):
            assert stranger.delete(f"/v1/models/{name}").status_code == 404
    assert api.client.get("/v1/models/favourite").status_code == 200


def test_aliases_are_a_thousand_at_most(api: Api, model: str) -> None:
    assert aliases.MOST_ALIASES == 1000
    record = put(api, "a-0", model).json() and api.scripts.redis.hget(keys.aliases("default"), "a-0")
    api.scripts.redis.hset(keys.aliases("default"), mapping={f"a-{number}": record for number in range(1000)})
    assert "delete one first" in error_of(put(api, "b", model), 409)[1]
    assert put(api, "a-7", model).status_code == 200
    api.scripts.redis.delete(keys.aliases("default"))


def test_deleted_alias_leaves_its_model(api: Api, sdk: Sdk, trained: Trained) -> None:
    job = finished(api, trained, 4)
    put(api, "favourite", job)
    assert sdk("models.delete", "favourite").to_dict() == {"id": "favourite", "object": "model", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        sdk("models.delete", "favourite")
    assert [model.id for model in sdk.all("models.list")] == [job]


def test_deleted_checkpoint_is_gone_with_its_files(api: Api, sdk: Sdk, trained: Trained) -> None:
    job = finished(api, trained, 4, 8, 15)
    name = f"{job}:step-8"
    assert sdk("models.delete", name).to_dict() == {"id": name, "object": "model", "deleted": True}
    assert folders(api, job) == [4, 15]
    for call in ("retrieve", "delete"):
        with pytest.raises(openai.NotFoundError):
            sdk(f"models.{call}", name)
    assert listed(api, checkpoints="true") == [f"{job}:step-15", f"{job}:step-4"]


def test_name_of_a_job_deletes_all_its_checkpoints(api: Api, sdk: Sdk, trained: Trained) -> None:
    job, other = finished(api, trained, 4, 8), finished(api, trained, 15)
    sdk("models.delete", job)
    assert (folders(api, job), folders(api, other)) == ([], [15])
    assert [model.id for model in sdk.all("models.list")] == [other]
    with pytest.raises(openai.NotFoundError):
        sdk("models.retrieve", job)
    assert api.client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded"


@pytest.mark.parametrize("which", ["latest", "best"])
def test_name_that_moves_is_not_deleted(api: Api, trained: Trained, which: str) -> None:
    job = finished(api, trained, 4, 8)
    param, message = error_of(api.client.delete(f"/v1/models/{job}:{which}"), 422)
    assert (param, f"{job}:step-8" in message) == ("model_id", True)
    assert folders(api, job) == [4, 8]


def test_unfinished_job_keeps_its_newest_and_its_best(api: Api, trained: Trained) -> None:
    job, held = running(api, trained, 4, 8, 15, 16)
    held.write(fields={"best": {"step": 8, "validation_loss": 1.0}})
    for name in (job, f"{job}:step-8", f"{job}:step-16"):
        param, message = error_of(api.client.delete(f"/v1/models/{name}"), 409)
        assert (param, "cancel it first" in message) == ("model_id", True)
    assert api.client.delete(f"/v1/models/{job}:step-4").status_code == 200
    assert folders(api, job) == [8, 15, 16]
    held.suspend()
    assert api.client.delete(f"/v1/models/{job}:step-16").status_code == 409
    api.client.post(f"/v1/jobs/{job}/cancel")
    assert api.client.delete(f"/v1/models/{job}").status_code == 200
    assert folders(api, job) == []


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_model_that_an_unfinished_job_starts_from_stays(api: Api, trained: Trained, state: str) -> None:
    source = finished(api, trained, 4, 8)
    job = api.submit(init_from=f"{source}:step-4")["id"]
    held = api.claim() if state == "running" else None
    if state == "paused":
        api.client.post(f"/v1/jobs/{job}/pause")
    assert api.client.get(f"/v1/jobs/{job}").json()["state"] == state
    for path in (f"models/{source}:step-4", f"models/{source}", f"jobs/{source}"):
        assert job in error_of(api.client.delete(f"/v1/{path}"), 409)[1]
    assert api.client.delete(f"/v1/models/{source}:step-8").status_code == 200
    api.client.post(f"/v1/jobs/{job}/cancel")
    if held:
        held.finish("cancelled")
    assert api.client.delete(f"/v1/models/{source}").status_code == 200


def test_last_checkpoint_of_a_job_that_is_tried_again_stays(api: Api, trained: Trained) -> None:
    source = finished(api, trained, 4, 8)
    again = api.client.post(f"/v1/jobs/{source}/retry", json={"train": {"max_steps": 99}}).json()["id"]
    for path in (f"models/{source}:step-8", f"models/{source}", f"jobs/{source}"):
        assert again in error_of(api.client.delete(f"/v1/{path}"), 409)[1]
    assert api.client.delete(f"/v1/models/{source}:step-4").status_code == 200


def test_what_merely_speaks_of_a_model_does_not_keep_it(api: Api, trained: Trained) -> None:
    """A text in a spec, and another tenant's job, which the API does not let start from it either."""
    source = finished(api, trained, 4)
    with api.other_tenant() as stranger:
        dataset = stranger.post("/v1/datasets", content="the cat sat on the mat. " * 60).json()["id"]
        spec = JobSpec.model_validate({"dataset": dataset, "init_from": f"{source}:step-4", "retry_of": source})
        api.queue.pause("other", api.queue.submit("other", spec).id)
    api.submit(metadata={"a": f'"init_from":"{source}"', "b": f'"retry_of":"{source}"'})
    assert api.client.delete(f"/v1/models/{source}").status_code == 200


@pytest.mark.parametrize(("alias_of", "free"), [(":step-4", ":step-8"), (":latest", ":step-4"), ("", ":step-4")])
def test_model_with_an_alias_stays_until_the_alias_goes(api: Api, trained: Trained, alias_of: str, free: str) -> None:
    job = finished(api, trained, 4, 8)
    put(api, "favourite", f"{job}{alias_of}")
    for path in (f"models/{job}", f"jobs/{job}", *([f"models/{job}{alias_of}"] if "step" in alias_of else [])):
        assert "favourite" in error_of(api.client.delete(f"/v1/{path}"), 409)[1]
    assert api.client.delete(f"/v1/models/{job}{free}").status_code == 200
    assert trim(api.queue, Sweeps(api.scripts), api.storage, retention_days=-1) == 0
    assert api.client.get("/v1/models/favourite").status_code == 200
    api.client.delete("/v1/models/favourite")
    assert trim(api.queue, Sweeps(api.scripts), api.storage, retention_days=-1) == 1
    assert api.client.get(f"/v1/jobs/{job}").status_code == 404


def test_deleting_twice_at_once_leaves_nothing_behind(api: Api, trained: Trained) -> None:
    """A script whose answer was lost runs again."""
    job = finished(api, trained, 4, 8)
    for _ in range(2):
        api.queue.delete_checkpoints("default", job, [4], param="model_id")
    assert [checkpoint.step for checkpoint in api.queue.checkpoints("default", job)] == [8]


def test_model_is_read_by_whom_it_may_and_changed_by_whom_it_may(api: Api, trained: Trained) -> None:
    job = finished(api, trained, 4)
    made = api.client.post("/v1/keys", json={"scopes": ["read"]}).json()
    with sdk_of(api, api_key=made["key"]) as sdk:
        assert sdk("models.retrieve", job).step == 4
        with pytest.raises(openai.PermissionDeniedError):
            sdk("models.delete", job)
    with api.client_with(made["key"]) as reader:
        assert reader.put("/v1/models/favourite", json={"model": job}).status_code == 403


def test_checkpoint_that_an_alias_names_outlives_those_that_its_job_drops(api: Api, trained: Trained) -> None:
    name, job = running(api, trained, 4, 8, 12)
    assert put(api, "pinned", f"{name}:step-4").status_code == 200
    job.write(drop=[4, 8])
    assert job.published_steps() == {4, 12}
    assert api.client.get("/v1/models/pinned").json()["step"] == 4
