"""Webhooks: who is told what, signed how, tried how often, and where they must never reach."""

import base64
import hashlib
import hmac
import http.server
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from api_service import Api
from queue_samples import LEASE_SECONDS, TENANT, submit

from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.webhooks import PAUSES, Webhooks
from services.webhooks import Messenger, guarded_client, is_public, signing_secret

SECRET = b"the installation's"
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


class Receiver:
    """Somebody's server: keeps what it is told, answers as asked."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.location = ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("location", outer.location)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def webhooks(scripts: RedisScripts) -> Webhooks:
    return Webhooks(scripts)


@pytest.fixture
def messenger(queue: JobQueue, webhooks: Webhooks) -> Iterator[Messenger]:
    """One that may reach this machine, for the receivers here; sends when told to."""
    messenger = Messenger(webhooks, queue, SECRET, LOOPBACK)
    yield messenger
    messenger.stop() if messenger._thread.is_alive() else messenger._client.close()


def end_a_job(queue: JobQueue, scripts: RedisScripts) -> str:
    job = submit(queue)
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).finish("succeeded", "0" * 64)
    return job.id


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As the specification has a receiver check it."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{expected}"


def test_end_of_a_job_is_told_and_signed(
    queue: JobQueue, scripts: RedisScripts, webhooks: Webhooks, messenger: Messenger, receiver: Receiver
) -> None:
    made = webhooks.create(TENANT, receiver.url)
    job = end_a_job(queue, scripts)
    cancelled = submit(queue)
    queue.cancel(TENANT, cancelled.id)
    assert messenger.send_due() == 2
    assert messenger.send_due() == 0
    told = [json.loads(body) for _, body in receiver.got]
    assert [(message["type"], message["data"]["id"]) for message in told] == [
        ("job.succeeded", job),
        ("job.cancelled", cancelled.id),
    ]
    assert told[0]["data"] == queue.job(TENANT, job).model_dump(mode="json")
    secret = signing_secret(SECRET, made.id)
    for headers, body in receiver.got:
        assert is_signed(secret, headers, body)
        assert not is_signed(secret, headers, body + b" ")
        assert not is_signed(signing_secret(b"another's", made.id), headers, body)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2


def test_only_the_tenants_own_webhooks_are_told(
    queue: JobQueue, scripts: RedisScripts, webhooks: Webhooks, messenger: Messenger, receiver: Receiver
) -> None:
    webhooks.create("tenant-b", receiver.url)
    end_a_job(queue, scripts)
    assert messenger.send_due() == 0
    made = webhooks.create(TENANT, receiver.url)
    end_a_job(queue, scripts)
    webhooks.delete(TENANT, made.id)
    messenger.send_due()
    assert receiver.got == []
    assert scripts.redis.zcard(keys.OUTBOX) == 0


def test_message_is_tried_again_under_the_same_id_and_given_up_at_last(
    queue: JobQueue, scripts: RedisScripts, webhooks: Webhooks, messenger: Messenger, receiver: Receiver
) -> None:
    webhooks.create(TENANT, receiver.url)
    receiver.status = 500
    end_a_job(queue, scripts)
    for tried in range(len(PAUSES) + 1):
        assert messenger.send_due() == 1
        assert messenger.send_due() == 0, "not before its pause is over"
        assert len(receiver.got) == tried + 1
        for member in scripts.redis.zrange(keys.OUTBOX, 0, -1):
            scripts.redis.zadd(keys.OUTBOX, {member: 1})
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert (scripts.redis.zcard(keys.OUTBOX), scripts.redis.hlen(keys.OUTBOX_TRIES)) == (0, 0)


def test_message_that_one_has_taken_is_taken_by_no_other(
    queue: JobQueue, scripts: RedisScripts, webhooks: Webhooks
) -> None:
    webhooks.create(TENANT, "http://a.example/")
    job = end_a_job(queue, scripts)
    assert [delivery.job for delivery in webhooks.due()] == [job]
    assert webhooks.due() == []


def test_each_webhook_has_a_secret_of_its_own() -> None:
    assert len({signing_secret(SECRET, webhook) for webhook in ("wh-1", "wh-2", "wh-3")}) == 3


def test_redirect_is_a_failure_and_not_followed(
    queue: JobQueue, scripts: RedisScripts, webhooks: Webhooks, messenger: Messenger, receiver: Receiver
) -> None:
    elsewhere = Receiver()
    receiver.status, receiver.location = 307, elsewhere.url
    webhooks.create(TENANT, receiver.url)
    end_a_job(queue, scripts)
    messenger.send_due()
    assert (len(receiver.got), elsewhere.got) == (1, [])
    assert scripts.redis.zcard(keys.OUTBOX) == 1
    elsewhere.close()


REFUSED = (
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1"),
)


@pytest.mark.parametrize("address", REFUSED)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "1.1.1.1"])
def test_public_address_is_reached(address: str) -> None:
    assert is_public(address)


def test_network_allowed_by_name_is_reached_and_no_other() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32")]
    assert [is_public(a, allowed) for a in ("10.1.2.3", "10.2.0.1", "fd00:1::5", "fd00:2::5")] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_no_way_of_writing_loopback_reaches_it(receiver: Receiver, host: str) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    with guarded_client() as client, pytest.raises(httpx.ConnectError):
        client.post(url, content=b"x")
    assert receiver.got == []


def test_name_that_changes_its_mind_gains_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the first answer is public, the next would be loopback. Only the first is ever asked for."""
    asked = []
    port = int(receiver.url.rpartition(":")[2].partition("/")[0])

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        address = "192.0.2.1" if len(asked) > 1 else "93.184.215.14"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> Any:
        connected.append(address)
        raise OSError("nobody there")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with guarded_client() as client, pytest.raises(httpx.ConnectError):
        client.post(f"http://rebinding.example:{port}/", content=b"x")
    assert connected == [("93.184.215.14", port)]


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    with guarded_client() as client, pytest.raises(httpx.ConnectError, match=r"leads to 10\.0\.0\.1"):
        client.post("http://two.example/", content=b"x")


def test_webhooks_are_off_unless_allowed(api: Api) -> None:
    answer = api.client.post("/v1/webhooks", json={"url": "https://example.org/hook"})
    assert answer.status_code == 403
    assert "UNROLL_WEBHOOKS=on" in answer.json()["error"]["message"]


def test_webhooks_over_http(api: Api, receiver: Receiver, until: Callable[..., Any]) -> None:
    settings = api.settings.model_copy(update={"webhooks": "on"})
    api.app.state.rooms.__dict__["settings"] = settings
    try:
        for url in ("ftp://x/", "http://", "not a url", "http://user:word@example.org/", "http://x" * 300):
            refused = api.client.post("/v1/webhooks", json={"url": url})
            assert (refused.status_code, refused.json()["error"]["param"]) == (422, "url")
        made = api.client.post("/v1/webhooks", json={"url": receiver.url}).json()
        assert made["secret"] == signing_secret(api.settings.secret, made["id"])
        kept = {name: value for name, value in made.items() if name != "secret"}
        assert api.client.get("/v1/webhooks").json()["data"] == [kept]
        assert made["secret"] not in str(api.scripts.redis.hgetall(keys.webhooks("default")))
        with api.other_tenant() as other:
            assert other.get("/v1/webhooks").json()["data"] == []
            assert other.delete(f"/v1/webhooks/{made['id']}").status_code == 404
        messenger = Messenger(Webhooks(api.scripts), api.queue, api.settings.secret, LOOPBACK)
        messenger.start()
        api.client.post(f"/v1/jobs/{api.submit()['id']}/cancel")
        until(lambda: receiver.got)
        messenger.stop()
        assert is_signed(made["secret"], *receiver.got[0])
        assert api.client.delete(f"/v1/webhooks/{made['id']}").json()["deleted"] is True
    finally:
        api.app.state.rooms.__dict__["settings"] = api.settings
