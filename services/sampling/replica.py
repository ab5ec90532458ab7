"""The sampler as Ray Serve replicas: what runs in each, and the way to all of them. Knows no port; `front` has one.

A replica is the whole sampler with its little API, and is spoken to in requests and answers of that API. Requests for
one checkpoint go to one replica while it has room, so that they are written in one batch; then to the next one.
"""

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, NamedTuple

import ray
from prometheus_client import generate_latest
from ray import serve
from ray.exceptions import RayActorError, RayError, TaskCancelledError
from ray.serve.config import AutoscalingConfig
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from starlette.types import Message

from rnncore.errors import Overloaded, Unavailable
from services.logs import configure_logs
from services.settings import Settings

log = logging.getLogger(__name__)

ROOM = 96
"""Requests that one replica answers at once; the next one for its models goes to another replica."""
_TARGET = 64
_MOST_WAITING = 1024
_LONGEST_ANSWER_SECONDS = 600
_UPSCALE_SECONDS = 10
_DOWNSCALE_SECONDS = 300
_HEALTH_SECONDS = 2
_LOOK_SECONDS = 2
_STATUS_SECONDS = 5
_METRICS_SECONDS = 8
_APPLICATION = "unroll-sampler"
_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"

Headers = Sequence[tuple[bytes, bytes]]


class Head(NamedTuple):
    """How an answer begins."""

    status: int
    headers: Headers


class Replica:
    """A sampler in a process of its own, made from that process' environment."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Serve awaits it: a sampler is made on its event loop
        # Here and not above, for the front imports this file too, and needs no torch.
        import torch

        from services.sampling.app import create_app

        configure_logs()
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self._app = create_app(Settings())
        self._life = self._app.router.lifespan_context(self._app)
        await self._life.__aenter__()

    async def answer(self, path: str, headers: Headers, body: bytes) -> AsyncIterator[Head | bytes]:
        """The API's answer to a POST: its head, then its body in pieces. Cancelled, it gives up what it was writing."""
        reply = _Reply(body)
        task = asyncio.ensure_future(self._app(_scope(path, headers), reply.receive, reply.send))
        task.add_done_callback(reply.end)
        try:
            async for piece in reply.pieces():
                yield piece
        finally:
            task.cancel()
            for failed in await asyncio.gather(task, return_exceptions=True):
                if isinstance(failed, Exception):
                    log.error("a command failed", exc_info=failed)

    def metrics(self) -> tuple[str, bytes]:
        """Name of this replica, and its metrics as text."""
        return serve.get_replica_context().replica_id.unique_id, generate_latest(self._app.state.sampler.registry)


class _Reply:
    """What an ASGI app reads of one request, and says to it. Pieces that nobody has taken yet become one."""

    def __init__(self, body: bytes) -> None:
        self._asked = iter([{"type": "http.request", "body": body}])
        self._said: list[Head | bytes] = []
        self._has_news = asyncio.Event()
        self._is_whole = self._has_ended = False

    async def receive(self) -> Message:
        if (message := next(self._asked, None)) is not None:
            return message
        await asyncio.Event().wait()  # a client that leaves is told by cancelling
        raise AssertionError("unreachable: nobody sets it")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._said.append(Head(message["status"], list(message["headers"])))
        else:
            self._said.append(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
        self._has_news.set()

    def end(self, _: object) -> None:
        """The app has returned, or failed."""
        self._has_ended = True
        self._has_news.set()

    async def pieces(self) -> AsyncIterator[Head | bytes]:
        """The head, then the body as it comes. Raises Unavailable where the app says no more in mid-answer."""
        while self._said or not self._is_whole:
            if self._has_ended and not (self._said or self._is_whole):
                raise Unavailable("the sampler failed in mid-answer; its log says why")
            await self._has_news.wait()
            self._has_news.clear()
            said, self._said = self._said, []
            for head in said:
                if isinstance(head, Head):
                    yield head
            if body := b"".join(piece for piece in said if isinstance(piece, bytes)):
                yield body


class Answer:
    """An answer on its way. However it ends, close it: what is still being written of it is given up then."""

    def __init__(self, response: DeploymentResponseGenerator[Any], replicas: "Replicas") -> None:
        self._response = response
        self._replicas = replicas
        self._has_ended = False

    async def head(self) -> Head:
        """How it begins. Raises Unavailable where no replica can begin it, Overloaded where too many wait."""
        head: Head | None = await self._next()
        if head is None:
            raise Unavailable("a replica of the sampler answered nothing; try again in a moment")
        return head

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its body. Raises Unavailable where the replica dies before its end."""
        while (piece := await self._next()) is not None:
            yield piece

    def close(self) -> None:
        if not self._has_ended:
            self._response.cancel()  # type: ignore[no-untyped-call]  # Ray types it not

    async def _next(self) -> Any:
        """What comes next, None at the end; looks now and then whether there is still anybody to send it."""
        coming = asyncio.ensure_future(anext(self._response, None))
        try:
            with _told_as_ours():
                while not (await asyncio.wait({coming}, timeout=_LOOK_SECONDS))[0]:
                    await self._replicas.check()
                item = coming.result()
        finally:
            coming.cancel()
        self._has_ended = item is None
        return item


class Replicas:
    """All replicas of one cluster. Make it with `start`."""

    def __init__(self, handle: DeploymentHandle[Any], name: str) -> None:
        self._handle = handle
        self._stream = handle.options(method_name="answer", stream=True)
        self._name = name
        self._looking = asyncio.Lock()
        self._looked_at, self._has_any = -math.inf, False

    @classmethod
    def start(cls, settings: Settings) -> "Replicas":
        """Joins the cluster and has the replicas run there, those of other settings no longer.

        Replicas outlive whoever started them: after a fault the same ones are found again.
        """
        ray.init(address=settings.ray_address or "auto", log_to_driver=False, logging_level=logging.WARNING)
        serve.start(proxy_location="Disabled")
        name = f"{_APPLICATION}-{_fingerprint(settings)}"
        if _num_running(name):
            return cls(serve.get_app_handle(name), name)
        handle = serve.run(_deployment(settings).bind(), name=name, route_prefix=None)
        for other in serve.status().applications:
            if other.startswith(_APPLICATION) and other != name:
                serve.delete(other, _blocking=False)
        return cls(handle, name)

    def ask(self, path: str, headers: Headers, body: bytes, *, checkpoint: str) -> Answer:
        """The answer to a command about `checkpoint`."""
        response = self._stream.options(session_id=checkpoint).remote(path, headers, body)
        assert isinstance(response, DeploymentResponseGenerator)
        return Answer(response, self)

    async def check(self) -> None:
        """Raises Unavailable while no replica runs, as far as was seen in the last seconds."""
        async with self._looking:
            if time.monotonic() > self._looked_at + _LOOK_SECONDS:
                with _told_as_ours():
                    looked = asyncio.to_thread(_num_running, self._name)
                    self._has_any = await asyncio.wait_for(looked, _STATUS_SECONDS) > 0
                self._looked_at = time.monotonic()
        if not self._has_any:
            raise Unavailable("no replica of the sampler runs; try again in a moment")

    async def is_reachable(self) -> bool:
        """Whether the cluster says anything at all, be it that no replica runs."""
        try:
            await self.check()
        except Unavailable:
            return time.monotonic() <= self._looked_at + _LOOK_SECONDS
        return True

    async def metrics(self) -> dict[str, bytes]:
        """Metrics of the replicas that answer."""
        answers = self._handle.broadcast("metrics").results_async(timeout_s=_METRICS_SECONDS, return_exceptions=True)
        with _told_as_ours():
            return dict([answer for answer in await answers if not isinstance(answer, BaseException)])


def _deployment(settings: Settings) -> serve.Deployment:
    deployment = serve.deployment(
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=ROOM,
        max_queued_requests=_MOST_WAITING,
        autoscaling_config=AutoscalingConfig(
            min_replicas=settings.sampler_min_replicas,
            max_replicas=settings.sampler_max_replicas,
            target_ongoing_requests=_TARGET,
            upscale_delay_s=_UPSCALE_SECONDS,
            downscale_delay_s=_DOWNSCALE_SECONDS,
        ),
        graceful_shutdown_timeout_s=_LONGEST_ANSWER_SECONDS,  # scaling down cuts no text short
        health_check_period_s=_HEALTH_SECONDS,
        request_router_config={
            "request_router_class": _ROUTER,
            "request_router_kwargs": {"num_fallback_replicas": settings.sampler_max_replicas},
        },
        logging_config={"enable_access_log": False},
    )
    made: serve.Deployment = deployment(Replica)
    return made


def _fingerprint(settings: Settings) -> str:
    """Changes with whatever makes other replicas."""
    chosen = (settings.sampler_min_replicas, settings.sampler_max_replicas, settings.sampler_precision)
    told = repr((*chosen, settings.state_seconds, version("unroll-server")))
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _num_running(name: str) -> int:
    application = serve.status().applications.get(name)
    deployments = application.deployments.values() if application else ()
    states = [state for deployment in deployments for state in deployment.replica_states.items()]
    return sum(number for state, number in states if state == "RUNNING")


def _scope(path: str, headers: Headers) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": None,
        "server": ("sampler", 80),
    }


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """What Ray says of replicas, as our own exceptions."""
    try:
        yield
    except BackPressureError as error:
        raise Overloaded(f"{_MOST_WAITING} requests wait for a replica already; try again in a moment") from error
    except TaskCancelledError:
        raise
    except RayActorError as error:
        raise Unavailable("the replica that was to answer died; ask again") from error
    except (RayError, RayServeException, TimeoutError) as error:
        log.exception("a replica failed")
        raise Unavailable("a replica of the sampler failed; try again in a moment") from error
