"""Keys: who may make them, what each lets its holder do, for how long and how often."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from api_service import Api
from test_api_door import cookie_of, routes

from services.access import Access, scope_of
from services.jobqueue.api_keys import ApiKeys

SCOPES = ("read", "train", "sample", "admin")


def create(api: Api, **wishes: Any) -> dict[str, Any]:
    answer = api.client.post("/v1/keys", json=wishes)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def test_new_key_is_told_once_and_works(api: Api) -> None:
    made = create(api, name="of the lab", tenant="lab")
    assert made["key"].startswith("unroll-")
    assert (made["tenant"], made["scopes"]) == ("lab", ["read", "train", "sample"])
    with api.client_with(made["key"]) as client:
        assert client.get("/v1/jobs").json()["data"] == []
    listed = api.client.get("/v1/keys").json()["data"]
    assert {key["id"] for key in listed} == {made["id"], "first"}
    assert made["key"] not in api.client.get("/v1/keys").text
    assert all(made["key"] not in str(value) for value in api.scripts.redis.hgetall("{unroll}:keys").items())


def test_revoked_key_is_out_at_its_next_request_and_so_are_its_sessions(api: Api) -> None:
    made = create(api)
    cookies = {"unroll_session": cookie_of(api, f"default:{made['id']}")}
    with api.client_with(made["key"]) as client, httpx.Client(base_url=api.url, cookies=cookies) as browser:
        assert client.get("/v1/jobs").status_code == browser.get("/v1/jobs").status_code == 200
        assert api.client.delete(f"/v1/keys/{made['id']}").json() == {
            "id": made["id"],
            "object": "key",
            "deleted": True,
        }
        assert client.get("/v1/jobs").status_code == browser.get("/v1/jobs").status_code == 401
    assert api.client.delete(f"/v1/keys/{made['id']}").status_code == 404


def test_expired_key_is_out(api: Api, until: Callable[..., Any]) -> None:
    made = create(api, expires_at=time.time() + 0.7)
    with api.client_with(made["key"]) as client:
        assert client.get("/v1/jobs").status_code == 200
        until(lambda: client.get("/v1/jobs").status_code == 401, 2)


@pytest.mark.parametrize("scope", SCOPES)
def test_every_route_answers_403_to_a_key_without_its_scope(api: Api, scope: str) -> None:
    with api.client_with(create(api, scopes=[scope])["key"]) as client:
        for method, path in routes(api):
            if not path.startswith("/v1/"):
                continue
            answer = client.request(method, path)
            if scope_of(method, path) == scope:
                assert answer.status_code != 403, (method, path)
            else:
                assert answer.status_code == 403, (method, path)
                assert method == "HEAD" or code_of(answer) == "forbidden"


def test_routes_need_the_scopes_that_their_names_promise() -> None:
    assert scope_of("GET", "/v1/jobs") == "read"
    assert scope_of("POST", "/v1/jobs") == scope_of("DELETE", "/v1/datasets/ds-1") == "train"
    assert scope_of("POST", "/v1/completions") == scope_of("POST", "/v1/inspect") == "sample"
    assert scope_of("GET", "/v1/keys") == scope_of("DELETE", "/v1/keys/key-1") == "admin"


def test_last_key_that_may_make_others_stays(api: Api) -> None:
    answer = api.client.delete("/v1/keys/first")
    assert (answer.status_code, code_of(answer)) == (409, "conflict")
    made = create(api, scopes=["admin"])
    assert api.client.delete("/v1/keys/first").status_code == 200
    with api.client_with(made["key"]) as client:
        assert client.get("/v1/keys").status_code == 200


def test_first_key_once_revoked_does_not_come_back_with_the_next_start(api: Api) -> None:
    create(api, scopes=["admin"])
    assert api.client.delete("/v1/keys/first").status_code == 200
    Access(ApiKeys(api.scripts), api.settings.secret).admit_first_key(api.settings)
    assert api.client.get("/v1/jobs").status_code == 401
    assert api.anonymous.get("/healthz").status_code == 200


def test_keys_do_no_harm_to_the_metrics(api: Api) -> None:
    create(api, requests_per_minute=5)
    assert "unroll_queue_depth" in api.client.get("/metrics").text


def test_key_asks_as_often_as_it_may_and_harms_no_other(api: Api, until: Callable[..., Any]) -> None:
    made, other = create(api, requests_per_minute=60), create(api, requests_per_minute=60)
    with api.client_with(made["key"]) as client, api.client_with(other["key"]) as another:
        answers = [client.get("/v1/jobs") for _ in range(14)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:10] == [200] * 10, "ten seconds' worth at once"
        assert 429 in statuses
        assert another.get("/v1/jobs").status_code == 200
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert (refused.json()["error"]["type"], code_of(refused)) == ("rate_limit_error", "rate_limit_exceeded")
        until(lambda: client.get("/v1/jobs").status_code == 200, 2)
    assert all(api.client.get("/v1/jobs").status_code == 200 for _ in range(20))


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"scopes": []}, "scopes"),
        ({"tenant": "../x"}, "tenant"),
        ({"tenant": "a:b"}, "tenant"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"expires_at": "NaN"}, "expires_at"),
        ({"name": "a\nb"}, "name"),
        ({"role": "root"}, "role"),
    ],
)
def test_bad_wish_is_named(api: Api, wishes: dict[str, Any], param: str) -> None:
    answer = api.client.post("/v1/keys", json=wishes)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/keys", "/v1/keys/key-1", "/v1/tenants", "/v1/tenants/lab"])
def test_keys_and_tenants_are_for_admins_alone(api: Api, method: str, path: str) -> None:
    made = create(api, scopes=["read", "train", "sample"])
    with api.client_with(made["key"]) as client:
        assert client.request(method, path, json={}).status_code == 403


def test_key_of_lesser_scope_or_one_that_expired_is_no_other_admin(api: Api, until: Callable[..., Any]) -> None:
    create(api, scopes=["read", "train", "sample"])
    short = create(api, scopes=["admin"], expires_at=time.time() + 0.3)
    until(lambda: time.time() > short["expires_at"])
    assert api.client.delete("/v1/keys/first").status_code == 409
