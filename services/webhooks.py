"""Tells webhooks that jobs have ended: signed after the Standard Webhooks specification, and only to public addresses.

https://www.standardwebhooks.com: headers webhook-id, webhook-timestamp and webhook-signature, the HMAC-SHA256 of
`id.timestamp.body` under a secret that only the receiver has.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from rnncore.errors import InvalidInput, NotFound, Overloaded, Unavailable
from services.jobqueue.queue import JobQueue
from services.jobqueue.webhooks import Delivery, Webhooks

log = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SECRET_PREFIX = "whsec_"
_POLL_SECONDS = 0.5
_TIMEOUT_SECONDS = 10.0
# Addresses that carry an IPv4 address of any kind within them: what they lead to is not seen here.
_TUNNELS = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))


class AddressRefused(httpcore.ConnectError):
    """The name leads to an address that webhooks must not reach."""


def is_public(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether a webhook may be sent to `address`: on the public internet, or in a network allowed by name."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if any(found in network for network in allowed if network.version == found.version):
        return True
    is_tunnel = any(found in network for network in _TUNNELS if network.version == found.version)
    return found.is_global and not found.is_multicast and not is_tunnel


class _GuardedBackend(httpcore.SyncBackend):
    """Connects to the very address that was looked at: a name that changes its mind in between gains nothing."""

    def __init__(self, allowed: Iterable[Network]) -> None:
        self._allowed = tuple(allowed)

    def connect_tcp(self, host: str, port: int, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address") from error
        addresses = [str(entry[4][0]) for entry in found]
        refused = [address for address in addresses if not is_public(address, self._allowed)]
        if refused:
            raise AddressRefused(f"{host} leads to {refused[0]}, which webhooks must not reach")
        return super().connect_tcp(addresses[0], port, *arguments, **options)


def guarded_client(allowed: Iterable[Network] = ()) -> httpx.Client:
    """An HTTP client that reaches public addresses alone, follows no redirect and heeds no proxy variables."""
    transport = httpx.HTTPTransport(trust_env=False)
    transport._pool = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(), network_backend=_GuardedBackend(allowed), max_connections=20
    )
    return httpx.Client(transport=transport, timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)


def check_url(url: str) -> None:
    """Raises InvalidInput unless `url` is one that could be posted to. Where it leads is looked at when it is."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidInput(f"url: {error}", param="url") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInput("url has to be http:// or https:// and a host", param="url")
    if parsed.userinfo:
        raise InvalidInput("url must not hold a user or a password; check the signature instead", param="url")


def signing_secret(secret: bytes, webhook_id: str) -> str:
    """What the receiver checks signatures with. Made of the installation's secret, so it is stored nowhere."""
    key = hmac.new(secret, b"webhook:" + webhook_id.encode(), hashlib.sha256).digest()
    return _SECRET_PREFIX + base64.b64encode(key).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header webhook-signature."""
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Messenger:
    """A thread that sends what is due. At least once: a receiver knows a repetition by its webhook-id."""

    def __init__(self, webhooks: Webhooks, queue: JobQueue, secret: bytes, allowed: Iterable[Network] = ()) -> None:
        self._webhooks = webhooks
        self._queue = queue
        self._secret = secret
        self._client = guarded_client(allowed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(_TIMEOUT_SECONDS)
        self._client.close()

    def send_due(self) -> int:
        """Sends what is due now; answers how many messages that were."""
        due = self._webhooks.due()
        for delivery in due:
            self._send(delivery)
        return len(due)

    def _run(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            try:
                while not self._over.is_set() and self.send_due():
                    pass
            except (Unavailable, Overloaded) as error:
                log.warning("webhooks wait: %s", error)
            except Exception:
                log.exception("webhooks")

    def _send(self, delivery: Delivery) -> None:
        webhook = self._webhooks.get(delivery.tenant, delivery.webhook)
        if webhook is None:
            self._webhooks.done(delivery)
            return
        body, timestamp = self._body(delivery), int(time.time())
        signed = signature(signing_secret(self._secret, webhook.id), delivery.id, timestamp, body)
        headers = {
            "content-type": "application/json",
            "user-agent": "Unroll-Webhook",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signed,
        }
        try:
            with self._client.stream("POST", webhook.url, content=body, headers=headers) as answer:
                arrived, said = answer.is_success, f"answered {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            arrived, said = False, str(error)
        if arrived:
            self._webhooks.done(delivery)
        else:
            again = self._webhooks.put_off(delivery)
            log.warning(
                "%s of %s to %s: %s%s", delivery.state, delivery.job, webhook.id, said, "" if again else "; given up"
            )

    def _body(self, delivery: Delivery) -> bytes:
        try:
            record = self._queue.job(delivery.tenant, delivery.job)
            data, at = record.model_dump(mode="json"), record.finished_at
        except NotFound:  # deleted meanwhile
            data, at = {"id": delivery.job, "object": "job", "state": delivery.state}, None
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at or time.time()))
        return json.dumps({"type": f"job.{delivery.state}", "timestamp": moment, "data": data}).encode()
