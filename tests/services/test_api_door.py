"""Who is let in, and what everybody who is not gets to see: one envelope, one request id."""

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from api_service import Api
from fastapi.routing import iter_route_contexts

from services.jobqueue.queue import JobQueue
from services.settings import Settings
from services.web import sessions

PUBLIC = ("/healthz", "/readyz", "/login", "/static")
SELF_ANSWERING = ("/v1/", "/parts/", "/metrics", "/openapi.json")
UNKNOWN_JOB = "/v1/jobs/job-0123456789abcdef"


def routes(api: Api) -> list[tuple[str, str]]:
    """Every (method, path) the app answers, as its own table has it."""
    return [
        (method, re.sub(r"\{[^}]+\}", "x", context.path))
        for context in iter_route_contexts(api.app.routes)
        if context.path and not context.path.startswith(PUBLIC)
        for method in sorted(context.methods or ())
    ]


def envelope(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer that is nothing but the envelope, with a request id beside it."""
    body = answer.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = body["error"]
    return error


def cookie_of(api: Api, key_id: str = "default:first") -> str:
    return sessions.issue(api.settings.secret, key_id, time.time())


def test_no_route_but_the_public_ones_answers_without_a_key(api: Api) -> None:
    table = routes(api)
    assert len(table) > 15
    statuses = {}
    for method, path in table:
        answer = api.anonymous.request(method, path)
        statuses[method, path] = answer.status_code
        if answer.status_code == 401 and not path.startswith("/parts/"):
            assert method == "HEAD" or envelope(answer)["code"] == "invalid_api_key"
    # Pages lead a stranger to the login; what a page fetches for itself does not.
    pages = {(method, path): 303 for method, path in table if not path.startswith(SELF_ANSWERING)}
    assert statuses == dict.fromkeys(table, 401) | pages


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login", "/static/run.js"])
def test_public_route_needs_no_key(api: Api, path: str) -> None:
    assert api.anonymous.get(path).status_code == 200


def test_page_sends_a_stranger_to_the_login(api: Api) -> None:
    assert api.anonymous.get("/").headers["location"] == "/login"


@pytest.mark.parametrize(
    "authorization", ["Bearer wrong", "Bearer", "Basic dXNlcjpwYXNz", "unroll-x", "Bearer \xff\xfe"]
)
def test_wrong_key_is_refused(api: Api, authorization: str) -> None:
    answer = api.anonymous.get("/v1/jobs", headers={"authorization": authorization.encode("latin-1")})
    assert answer.status_code == 401
    assert envelope(answer)["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_key_that_is_wrong_is_not_mended_by_a_good_cookie(api: Api) -> None:
    headers = {"authorization": "Bearer wrong", "cookie": f"{sessions.COOKIE_NAME}={cookie_of(api)}"}
    assert api.anonymous.get("/v1/jobs", headers=headers).status_code == 401


def test_first_key_is_private_and_works(api: Api) -> None:
    file = api.settings.root / "api_key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert api.client.get("/v1/jobs").status_code == 200


def test_keys_are_not_stored(api: Api) -> None:
    key = api.key
    assert key not in str(api.scripts.redis.hgetall("{unroll}:keys"))


@pytest.mark.parametrize(
    ("status", "method", "path", "asked", "code"),
    [
        (404, "GET", "/v1/nothing", {}, "http_404"),
        (404, "GET", UNKNOWN_JOB, {}, "not_found"),
        (405, "PUT", "/v1/jobs", {}, "http_405"),
        (415, "POST", "/v1/datasets", {"content": b"x", "headers": {"content-encoding": "gzip"}}, "unsupported"),
        (413, "POST", "/v1/datasets", {"content": b"ab" * 9000}, "too_large"),
        (422, "POST", "/v1/jobs", {"json": {}}, "missing"),
        (422, "POST", "/v1/jobs", {"content": b"{", "headers": {"content-type": "application/json"}}, "json_invalid"),
        (422, "GET", "/v1/jobs?limit=0", {}, "greater_than_equal"),
    ],
)
def test_every_refusal_is_the_envelope(
    api: Api, status: int, method: str, path: str, asked: dict[str, Any], code: str
) -> None:
    answer = api.client.request(method, path, **asked)
    assert answer.status_code == status
    error = envelope(answer)
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert error["message"]


def test_conflict_is_the_envelope(api: Api) -> None:
    job = api.submit()
    answer = api.client.delete(f"/v1/jobs/{job['id']}")
    assert answer.status_code == 409
    assert envelope(answer)["code"] == "conflict"


def test_queue_that_is_away_is_503_with_the_time_to_try_again(
    api: Api, start_redis: Callable[[], Any], until: Callable[..., Any], settings: Settings
) -> None:
    server = start_redis()
    other = Api(settings.model_copy(update={"redis_url": server.url, "secret_file": settings.secret_file}))
    with other.running(until):
        server.process.stop()
        for path in ("/v1/jobs", UNKNOWN_JOB):
            answer = other.client.get(path)
            assert answer.status_code == 503
            assert envelope(answer)["code"] == "unavailable"
            assert answer.headers["retry-after"] == "1"
        assert other.anonymous.get("/healthz").status_code == 200
        assert other.anonymous.get("/readyz").status_code == 503


class BrokenQueue(JobQueue):
    """Fails in a way that nobody foresaw."""

    def jobs(self, *arguments: Any, **named: Any) -> Any:
        raise RuntimeError("a secret detail")


def test_unforeseen_fault_is_500_with_an_id_and_no_detail(api: Api) -> None:
    rooms = api.app.state.rooms
    api.app.state.rooms = dataclasses.replace(rooms, queue=BrokenQueue(api.scripts))
    try:
        answer = api.client.get("/v1/jobs", headers={"x-request-id": "mine"})
    finally:
        api.app.state.rooms = rooms
    assert answer.status_code == 500
    error = envelope(answer)
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "mine"


def test_request_id_of_the_client_comes_back_unless_it_could_do_harm(api: Api) -> None:
    def sent(value: str) -> str:
        return api.client.get("/v1/jobs", headers={"x-request-id": value}).headers["x-request-id"]

    assert sent("Abc-1.2_3") == "Abc-1.2_3"
    for bad in ("a b", "x" * 129, "a;b", ""):
        assert re.fullmatch("req-[0-9a-f]{24}", sent(bad))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost@evil", ""])
def test_foreign_host_is_400(api: Api, host: str) -> None:
    answer = api.client.get("/v1/jobs", headers={"host": host})
    assert answer.status_code == 400
    assert envelope(answer)["code"] == "bad_host"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8000"])
def test_loopback_host_is_served(api: Api, host: str) -> None:
    assert api.client.get("/v1/jobs", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(("host", "status"), [("a.example", 200), ("b.example:8000", 200), ("c.example", 400)])
def test_hosts_of_the_setting_are_served_besides_the_loopback(
    api: Api, settings: Settings, until: Callable[..., Any], host: str, status: int
) -> None:
    named = {"UNROLL_ALLOWED_HOSTS": "a.example, b.example", "UNROLL_HOME": settings.home, "UNROLL_PORT": 0}
    with Api(Settings(**named, REDIS_URL=settings.redis_url)).running(until) as other:
        assert other.client.get("/v1/jobs", headers={"host": host}).status_code == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example:8000", "evil"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_foreign_origin_changes_nothing(api: Api, method: str, origin: str) -> None:
    answer = api.client.request(method, "/v1/jobs", headers={"origin": origin})
    assert answer.status_code == 403
    assert envelope(answer)["code"] == "forbidden"


def test_own_origin_may_change_things(api: Api) -> None:
    answer = api.client.post("/v1/datasets", content=b"abab", headers={"origin": "http://localhost:9000"})
    assert answer.status_code == 200


def test_cookie_reads_without_a_token_and_changes_only_with_it(api: Api) -> None:
    cookie = cookie_of(api)
    headers = {"cookie": f"{sessions.COOKIE_NAME}={cookie}"}
    assert api.anonymous.get("/v1/jobs", headers=headers).status_code == 200
    for token in ({}, {sessions.CSRF_HEADER: "wrong"}, {sessions.CSRF_HEADER: ""}):
        answer = api.anonymous.post("/v1/datasets", content=b"abab", headers=headers | token)
        assert answer.status_code == 403
        assert envelope(answer)["code"] == "forbidden"
    good = {sessions.CSRF_HEADER: sessions.csrf_token(api.settings.secret, cookie)}
    assert api.anonymous.post("/v1/datasets", content=b"abab", headers=headers | good).status_code == 200


def test_forged_cookie_is_nobody(api: Api) -> None:
    cookie = sessions.issue(b"another secret", "default:first", 1e10)
    headers = {"cookie": f"{sessions.COOKIE_NAME}={cookie}"}
    assert api.anonymous.get("/v1/jobs", headers=headers).status_code == 401


def test_login_opens_the_pages_of_the_tenant(api: Api) -> None:
    job = api.submit(name="named by me")
    key = api.key
    with httpx.Client(base_url=api.url) as browser:
        assert browser.post("/login", data={"key": key}).status_code == 303
        page = browser.get("/").text
        assert "named by me" in page
        assert browser.get(f"/v1/jobs/{job['id']}").json()["id"] == job["id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/{job}"),
        ("DELETE", "/v1/jobs/{job}"),
        ("POST", "/v1/jobs/{job}/cancel"),
        ("GET", "/v1/jobs/{job}/events"),
        ("GET", "/v1/jobs/{job}/metrics"),
        ("GET", "/v1/jobs/{job}/logs"),
        ("GET", "/v1/jobs/{job}/checkpoints"),
        ("GET", "/v1/jobs?after={job}"),
        ("GET", "/v1/models/{job}"),
        ("GET", "/v1/models?after={job}"),
        ("GET", "/v1/datasets/{dataset}"),
        ("GET", "/v1/datasets/{dataset}/content"),
        ("GET", "/v1/datasets/{dataset}/preview"),
        ("GET", "/v1/datasets?after={dataset}"),
        ("DELETE", "/v1/datasets/{dataset}"),
    ],
)
def test_thing_of_another_tenant_is_as_unknown_as_one_that_never_was(api: Api, method: str, path: str) -> None:
    job = api.submit()
    never = {"job": "job-fedcba9876543210", "dataset": "ds-" + "f" * 32}
    theirs = {"job": job["id"], "dataset": job["spec"]["dataset"]}
    with api.other_tenant() as stranger:
        first = stranger.request(method, path.format(**theirs))
        second = stranger.request(method, path.format(**never))
    assert first.status_code == second.status_code == 404
    told = first.text.replace(theirs["job"], never["job"]).replace(theirs["dataset"], never["dataset"])
    assert told == second.text


def test_other_tenant_lists_nothing_and_cannot_train_on_our_data(api: Api) -> None:
    job = api.submit()
    with api.other_tenant() as stranger:
        assert stranger.get("/v1/jobs").json()["data"] == []
        assert stranger.get("/v1/datasets").json()["data"] == []
        answer = stranger.post("/v1/jobs", json={"dataset": job["spec"]["dataset"]})
        assert answer.status_code == 404
        assert envelope(answer)["param"] == "dataset"
