"""A job's events: as a list, and as a stream that is resumed without loss or repetition."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from api_service import Api
from queue_samples import audit
from unroll import Client

from services.door import Door
from services.jobqueue import keys
from services.settings import Settings

SSE = {"accept": "text/event-stream"}
Frame = dict[str, str]


@contextmanager
def following(api: Api, job: str, **headers: str) -> Iterator[Iterator[Frame]]:
    """The frames of a job's stream, as they come."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with api.client.stream("GET", f"/v1/jobs/{job}/events", headers=SSE | named) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield frames(answer)


def frames(answer: httpx.Response) -> Iterator[Frame]:
    """The events of a stream, comments left out."""
    frame: Frame = {}
    for line in lines(answer):
        name, _, value = line.partition(": ")
        if line and name:
            frame[name] = value
        elif not line and frame:
            yield frame
            frame = {}


def lines(answer: httpx.Response) -> Iterator[str]:
    """Not httpx's iter_lines: it also breaks at U+2028, which JSON may hold as it is."""
    rest = ""
    for piece in answer.iter_text():
        *whole, rest = (rest + piece).split("\n")
        yield from whole


def data(frame: Frame) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(frame["data"])
    return value


def test_list_and_stream_tell_the_same_events(api: Api) -> None:
    job = api.submit()["id"]
    held = api.claim()
    held.write(events=[("message", {"level": "info", "text": "é\u2028\n"}), ("metrics", {"step": 1})])
    held.finish("succeeded")
    listed = api.client.get(f"/v1/jobs/{job}/events").json()
    assert [event["type"] for event in listed["data"]] == ["state", "state", "message", "metrics", "state"]
    assert (listed["first_id"], listed["last_id"]) == (listed["data"][0]["id"], listed["data"][-1]["id"])
    with following(api, job) as stream:
        *told, done = stream
    assert [data(frame) for frame in told] == listed["data"]
    assert [(frame["id"], frame["event"]) for frame in told] == [(e["id"], e["type"]) for e in listed["data"]]
    assert done == {"data": "[DONE]"}


def test_events_are_listed_oldest_first_to_the_end(api: Api) -> None:
    job = api.submit()["id"]
    held = api.claim()
    held.write(events=[("metrics", {"step": step}) for step in range(5)])
    seen: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = api.client.get(f"/v1/jobs/{job}/events", params={"limit": 3, **after}).json()
        assert len(page["data"]) <= 3
        seen += page["data"]
    assert [event["data"].get("step") for event in seen] == [None, None, 0, 1, 2, 3, 4]
    assert api.client.get(f"/v1/jobs/{job}/events", params={"after": seen[-1]["id"]}).json()["data"] == []


def test_event_is_seen_while_the_job_still_runs(api: Api) -> None:
    job = api.submit()["id"]
    held = api.claim()
    with following(api, job) as stream:
        assert [data(next(stream))["data"]["state"] for _ in range(2)] == ["queued", "running"]
        held.write(events=[("metrics", {"step": 7})])
        assert data(next(stream))["data"] == {"step": 7}
        held.finish("succeeded")
        assert data(next(stream))["data"]["state"] == "succeeded"
        assert list(stream) == [{"data": "[DONE]"}]


def test_stream_resumed_behind_each_event_loses_and_repeats_nothing(api: Api) -> None:
    job = api.submit()["id"]
    held = api.claim()
    held.write(events=[("metrics", {"step": step}) for step in range(3)])
    held.finish("succeeded")
    with following(api, job) as stream:
        *whole, _ = stream
    for number, frame in enumerate(whole):
        with following(api, job, last_event_id=frame["id"]) as stream:
            assert list(stream) == [*whole[number + 1 :], {"data": "[DONE]"}]


def test_stream_broken_off_and_resumed_while_the_job_runs_tells_every_event_once(api: Api) -> None:
    job = api.submit()["id"]
    held = api.claim()
    with following(api, job) as stream:
        before = [next(stream) for _ in range(2)]
    held.write(events=[("metrics", {"step": step}) for step in range(3)])
    with following(api, job, last_event_id=before[-1]["id"]) as stream:
        after = [next(stream) for _ in range(2)]
        held.finish("succeeded")
        after += stream
    assert [data(frame)["data"].get("step") for frame in after[:3]] == [0, 1, 2]
    assert data(after[3])["data"]["state"] == "succeeded"
    assert after[4:] == [{"data": "[DONE]"}]


def test_stream_ends_with_the_state_that_ends_the_job_however_it_ends(api: Api) -> None:
    job = api.submit()["id"]
    with following(api, job) as stream:
        next(stream)
        api.client.post(f"/v1/jobs/{job}/cancel")
        told = list(stream)
    assert [data(frame)["data"]["state"] for frame in told[:-1]] == ["cancelled"]
    assert told[-1] == {"data": "[DONE]"}


@pytest.mark.parametrize("bad", ["x", "1-2-3", "-1", "$", "9" * 17, "1-1; DROP"])
def test_bad_last_event_id_is_422(api: Api, bad: str) -> None:
    job = api.submit()["id"]
    answer = api.client.get(f"/v1/jobs/{job}/events", headers=SSE | {"last-event-id": bad})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "last-event-id"


def test_stream_of_an_unknown_job_is_404(api: Api) -> None:
    answer = api.client.get("/v1/jobs/job-0123456789abcdef/events", headers=SSE)
    assert answer.status_code == 404


def test_stream_whose_queue_goes_away_ends_with_an_error_event(
    start_redis: Callable[[], Any], settings: Settings, until: Callable[..., Any]
) -> None:
    server = start_redis()
    with Api(settings.model_copy(update={"redis_url": server.url})).running(until) as api:
        job = api.submit()["id"]
        audit(api.scripts)
        with following(api, job) as stream:
            next(stream)
            server.process.stop()
            *_, last = stream
    assert data(last)["error"]["code"] == "unavailable"
    assert data(last)["error"]["type"] == "server_error"


def test_client_goes_on_behind_the_error_event_once_the_queue_is_back(
    start_redis: Callable[[], Any], settings: Settings, until: Callable[..., Any]
) -> None:
    server = start_redis()
    with Api(settings.model_copy(update={"redis_url": server.url})).running(until) as api:
        job = api.submit()["id"]
        held = api.claim()
        outages: list[str] = []
        with Client(api.url, api.key) as client:
            told = client.jobs.follow(job, on_outage=outages.append)
            states = [next(told), next(told)]
            server.process.stop()
            server.start()
            held.finish("succeeded")
            states += [event for event in told if event is not None]
        assert [event and event.data["state"] for event in states] == ["queued", "running", "succeeded"]
        assert outages[-1] == "connected again"


def test_follower_that_leaves_gives_its_connection_back(api: Api, until: Callable[..., Any]) -> None:
    job = api.submit()["id"]
    before = len(api.scripts.redis.client_list())
    for _ in range(5):
        with following(api, job) as stream:
            next(stream)
    until(lambda: len(api.scripts.redis.client_list()) <= before + 1, 10)


def test_reader_whose_events_were_trimmed_is_told_so(api: Api) -> None:
    job = api.submit()["id"]
    held = api.claim()
    first = api.client.get(f"/v1/jobs/{job}/events").json()["data"][0]["id"]
    time.sleep(0.01)  # ids are milliseconds: the trimmed ones are to be of others
    for step in range(10):
        held.write(events=[("metrics", {"step": step})])
        time.sleep(0.002)
    with following(api, job, last_event_id=first) as stream:
        assert data(next(stream))["type"] == "state", "nothing is missing yet"
    api.scripts.redis.xtrim(keys.events(job), maxlen=4, approximate=False)
    with following(api, job, last_event_id=first) as stream:
        reset, oldest = data(next(stream)), data(next(stream))
    assert reset["type"] == "reset"
    assert reset["data"] == {"after": first, "oldest": oldest["id"]}
    assert oldest["data"] == {"step": 6}
    with following(api, job, last_event_id=reset["id"]) as stream:
        told = [data(next(stream)) for _ in range(4)]
    assert [event["data"]["step"] for event in told] == [6, 7, 8, 9]


def test_reader_that_takes_nothing_is_dropped(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    door: Any = api.app.middleware_stack
    while not isinstance(door, Door):
        door = getattr(door, "app", None) or door._app
    monkeypatch.setattr(door, "_reader_patience", 0.5)
    job = api.submit()["id"]
    held = api.claim()
    for _ in range(40):
        held.write(events=[("message", {"level": "info", "text": "x" * 100_000}) for _ in range(5)])
    host, port = api.url.removeprefix("http://").split(":")
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect((host, int(port)))
        lines = (f"GET /v1/jobs/{job}/events HTTP/1.1", f"host: {host}", f"authorization: Bearer {api.key}")
        wire.sendall("\r\n".join((*lines, "accept: text/event-stream", "", "")).encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 200")
        time.sleep(2)  # longer than the patience
        wire.settimeout(10)
        while wire.recv(1 << 20):  # ends, for the server has closed it, though the job still runs
            pass
    with following(api, job) as stream:
        assert data(next(stream))["type"] == "state", "who reads is served"
