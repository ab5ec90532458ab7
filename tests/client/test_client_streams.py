"""Server-sent events however they are cut, and how long a lost stream is looked for."""

import pytest
from fake_unroll_server import DONE, JOB, Reply, answer, listed, metrics, record, refused, stream
from unroll import Client, NotFoundError, ProtocolError, QuotaError, ServerUnreachableError, ServiceUnavailableError
from unroll.connection import Connection
from unroll.sse import ServerSentEvent, follow, parse
from unroll.transport import Transport

BODY = 'id: 7\r\nevent: metrics\r\ndata: {"a":\ndata: "\u2028ä"}\n\n: keep-alive\n\rdata:[DONE]\r\r'.encode()
EVENTS = [ServerSentEvent('{"a":\n"\u2028ä"}', "metrics", "7"), None, ServerSentEvent("[DONE]")]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 1000])
def test_events_are_the_same_however_the_body_is_cut(size):
    assert list(parse(BODY[start : start + size] for start in range(0, len(BODY), size))) == EVENTS


def test_cut_off_event_is_dropped():
    assert list(parse([b"data: whole\n\n", b"id: 2\ndata: cut o"])) == [ServerSentEvent("whole")]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def transport(server, clock):
    transport = Transport(Connection(server.url, "k"), sleep=clock.sleep, clock=clock)
    yield transport
    transport.close()


def test_lost_stream_is_looked_for_as_long_as_patience_lasts(server, transport, clock):
    server.on("GET", "/x", stream("id: 1\ndata: a\n\n"), refused(503, "starting"))
    said = []
    with pytest.raises(ServerUnreachableError, match="gave up after 60 s: starting"):
        list(follow(transport, "/x", on_outage=said.append))
    assert 60 < clock.now < 63
    assert said == [f"{server.url} ended the stream early; trying again for 60 s"]


def test_patience_starts_again_with_every_sign_of_life(server, transport, clock):
    outage = [refused(503, "starting")] * 25
    alive = stream(": keep-alive\n\n")
    server.on("GET", "/x", *outage, alive, *outage, alive, *outage, stream("data: a\n\n", DONE))
    assert list(follow(transport, "/x")) == [None, None, ServerSentEvent("a")]
    assert clock.now > 120


def test_get_is_tried_again_and_waits_as_long_as_the_server_asks(server, transport, clock):
    server.on("GET", "/x", refused(503, "starting", headers={"Retry-After": "7"}), answer({}))
    assert transport.request("GET", "/x").status_code == 200
    assert clock.now == 7


def test_rate_limit_is_waited_for_as_long_as_the_server_asks(server, transport, clock):
    server.on("GET", "/x", refused(429, "too often", headers={"Retry-After": "10"}), answer({}))
    assert transport.request("GET", "/x").status_code == 200
    assert clock.now == 10


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "11"}, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}])
def test_quota_is_told_at_once(server, transport, clock, headers):
    server.on("GET", "/x", refused(429, "as many as it may", headers=headers), answer({}))
    with pytest.raises(QuotaError, match="as many as it may"):
        transport.request("GET", "/x")
    assert (clock.now, len(server.requests)) == (0, 1)


def test_get_gives_up_after_three_retries(server, transport):
    server.on("GET", "/x", refused(503, "starting"))
    with pytest.raises(ServiceUnavailableError, match="starting"):
        transport.request("GET", "/x")
    assert len(server.requests) == 4


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("reply", [Reply(hangs_up=True), refused(503, "starting")])
def test_what_is_not_idempotent_is_asked_once(server, transport, method, reply):
    server.on(method, "/x", reply)
    with pytest.raises((ServerUnreachableError, ServiceUnavailableError)):
        transport.request(method, "/x")
    assert len(server.requests) == 1


def test_refusal_carries_what_the_envelope_says(server, transport):
    server.on("GET", "/x", refused(404, "no job", param="id", code="gone", headers={"x-request-id": "r-1"}))
    with pytest.raises(NotFoundError) as caught:
        transport.request("GET", "/x")
    error = caught.value
    assert (error.status, error.message, error.type) == (404, "no job", "some_error")
    assert (error.param, error.code, error.request_id) == ("id", "gone", "r-1")


def test_lists_are_fetched_page_by_page_up_to_the_limit(server):
    pages = [[{**record("queued"), "id": f"job-{page}{item}"} for item in range(2)] for page in range(3)]
    server.on("GET", "/v1/jobs", *(listed(*page, has_more=True) for page in pages))
    with Client() as client:
        found = [job.id for job in client.jobs.list(limit=5)]
    assert found == ["job-00", "job-01", "job-10", "job-11", "job-20"]
    assert [request.query for request in server.requests] == [
        {"limit": "5"},
        {"limit": "3", "after": "job-01"},
        {"limit": "1", "after": "job-11"},
    ]


def test_empty_page_that_has_more_is_not_the_end(server):
    empty = answer({"object": "list", "data": [], "has_more": True, "first_id": None, "last_id": "job-5"})
    server.on("GET", "/v1/models", empty, listed({"id": "job-6"}))
    with Client() as client:
        assert [model.id for model in client.models.list()] == ["job-6"]
    assert server.requests[1].query["after"] == "job-5"


def test_list_that_repeats_its_last_page_ends(server):
    server.on("GET", "/v1/jobs", listed(record("queued"), has_more=True))
    with Client() as client:
        assert len(list(client.jobs.list())) == 2


@pytest.mark.parametrize("reply", [Reply(body=b"<html>"), answer([1]), answer({"id": 3})])
def test_answer_of_another_program_is_told_as_such(server, reply):
    server.on("GET", "/v1/jobs/job-1", reply)
    with Client() as client, pytest.raises(ProtocolError):
        client.jobs.get("job-1")


def test_follow_gives_events_alone_and_watch_the_keep_alives_too(server):
    frames = (": keep-alive\n\n", metrics(3, 100), ": keep-alive\n\n", DONE)
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(*frames), stream(*frames))
    with Client() as client:
        followed, watched = list(client.jobs.follow(JOB)), list(client.jobs.watch(JOB))
    assert [event.type for event in followed] == ["metrics"]
    assert [event and event.type for event in watched] == [None, "metrics", None]
