"""A hand-written /v1 behind the real pages: jobs, events and completions are what the test says they are.

It guards itself as the real door does: a session cookie for everything, the CSRF token and an own Origin on each POST.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from rnncore.spec import JobSpec, ModelSpec
from services.jobqueue.records import JobRecord, JobState, Progress, Scores
from services.web import pages, sessions
from services.web.site import Holder, Sources

SECRET = b"a secret of the tests"
KEY = "unroll-key-of-the-tests"
KEY_ID = "key-1"
TENANT = "tenant-1"
SCOPES = frozenset({"read", "train", "sample"})


def job_record(job_id: str = "job-1", **changes: Any) -> JobRecord:
    """A running job that stands at 42 %."""
    name = changes.pop("name", None)
    fields: dict[str, Any] = {
        "id": job_id,
        "state": JobState.RUNNING,
        "spec": JobSpec(dataset="ds-" + "0" * 32, name=name, model=ModelSpec(cell="lstm", hidden_size=320)),
        "tenant": TENANT,
        "created_at": time.time() - 200,
        "progress": Progress(step=2100, characters=4_300_800, ratio=0.42, eta_seconds=135, characters_per_second=51234),
        "best": Scores(step=2000, validation_loss=1.09, bits_per_character=1.573),
    }
    return JobRecord(**(fields | changes))


def metrics_row(step: int, *, epoch: int = 1, loss: float = 2.0, validation: float | None = None) -> dict[str, Any]:
    """The data of one metrics event."""
    return {
        "epoch": epoch,
        "step": step,
        "characters": step * 2048,
        "train_loss": loss,
        "gradient_norm": 0.5,
        "learning_rate": 0.004,
        "characters_per_second": 50_000.0,
        "training_seconds": step / 25,
        "ratio": step / 5000,
        "eta_seconds": (5000 - step) / 25,
        "validation_loss": validation,
        "bits_per_character": None if validation is None else validation / 0.693147,
    }


class FakeV1:
    """What a test arranges and observes. `push` may be called from any thread."""

    def __init__(self) -> None:
        self.jobs: list[JobRecord] = []
        self.history: list[dict[str, Any]] = []
        self.events: list[dict[str, Any] | None] = []
        self.completion: list[str | dict[str, Any]] = ["Once ", "upon ", "a time."]
        self.pieces_allowed = 1_000_000
        self.completion_requests: list[dict[str, Any]] = []
        self.streams_asked: list[str] = []
        self.open_streams = 0
        self.live_keys = {KEY_ID}
        self.scopes = SCOPES
        self.is_closing = False
        self._streams_changed = threading.Condition()
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def push(self, type_: str, data: dict[str, Any]) -> None:
        """One more event of the job that is watched."""
        number = len(self.events) + 1
        event = {"id": f"{number}-0", "object": "event", "type": type_, "created_at": time.time(), "data": data}
        self.events.append(event)
        self.wake()

    def end(self) -> None:
        """The stream's [DONE]."""
        self.events.append(None)
        self.wake()

    def wake(self) -> None:
        if self._loop and self._changed:
            self._loop.call_soon_threadsafe(self._changed.set)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Waits until the streams stand so."""
        with self._streams_changed:
            assert self._streams_changed.wait_for(is_so, timeout=20)

    def _count_stream(self, change: int) -> None:
        with self._streams_changed:
            self.open_streams += change
            self._streams_changed.notify_all()

    def get_job(self, tenant: str, job_id: str) -> JobRecord | None:
        return next((job for job in self.jobs if job.id == job_id and tenant == job.tenant), None)

    def app(self) -> FastAPI:
        return fake_app(self)

    async def next_change(self) -> None:
        assert self._changed
        self._changed.clear()
        await self._changed.wait()

    async def frames(self, request: Request, after: str | None) -> AsyncIterator[str]:
        last = request.headers.get("last-event-id") or after
        self.streams_asked.append(last or "")
        seen = int(last.partition("-")[0]) if last else 0
        self._count_stream(1)
        try:
            yield ": open\n\n"
            while not self.is_closing:
                for event in self.events[seen:]:
                    seen += 1
                    yield frame(event)
                    if event is None:
                        return
                await self.next_change()
        finally:
            self._count_stream(-1)

    async def written(self) -> AsyncIterator[str]:
        for number, piece in enumerate(self.completion):
            while number >= self.pieces_allowed and not self.is_closing:
                await self.next_change()
            body = piece if isinstance(piece, dict) else {"choices": [{"index": 0, "text": piece}]}
            yield f"data: {json.dumps(body)}\n\n"
            if isinstance(piece, dict):
                return
        yield "data: [DONE]\n\n"

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serves on a free port in a thread; the address."""
        bound = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(self.app(), log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()  # the socket listens already: who connects now is answered once the server runs
        try:
            yield self.url
        finally:
            self.is_closing = True
            server.should_exit = True
            self.wake()
            thread.join(timeout=20)
            bound.close()
            assert not thread.is_alive()


def frame(event: dict[str, Any] | None) -> str:
    if event is None:
        return "data: [DONE]\n\n"
    return f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"


def refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": None}}, status)


def fake_app(fake: FakeV1) -> FastAPI:
    """The real pages over the fake."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        fake._loop, fake._changed = asyncio.get_running_loop(), asyncio.Event()
        yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/static", pages.static_files())
    app.include_router(
        pages.site(
            Sources(
                secret=SECRET,
                version="9.8.7",
                check_key=lambda raw: KEY_ID if raw == KEY else None,
                holder=lambda key_id: Holder(TENANT, fake.scopes) if key_id in fake.live_keys else None,
                list_jobs=lambda _: fake.jobs,
                get_job=fake.get_job,
            )
        ).router
    )
    add_guard(app, fake)
    add_routes(app, fake)
    return app


def add_guard(app: FastAPI, fake: FakeV1) -> None:
    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        if request.method == "POST" and request.headers.get("origin", fake.url) != fake.url:
            return refusal(403, "foreign Origin")
        if request.url.path.startswith("/v1/"):
            cookie = request.cookies.get(sessions.COOKIE_NAME, "")
            if sessions.verify(SECRET, cookie, time.time()) is None:
                return refusal(401, "no session")
            token = request.headers.get(sessions.CSRF_HEADER, "")
            if request.method == "POST" and not sessions.csrf_matches(SECRET, cookie, token):
                return refusal(403, "no CSRF token")
        return await call_next(request)


def add_routes(app: FastAPI, fake: FakeV1) -> None:
    @app.get("/v1/jobs/{job_id}")
    def job(job_id: str) -> Any:
        return fake.get_job(TENANT, job_id) or refusal(404, "no such job")

    @app.get("/v1/jobs/{job_id}/metrics")
    def metrics(job_id: str) -> dict[str, Any]:
        assert fake.get_job(TENANT, job_id)
        return {"object": "list", "data": fake.history, "has_more": False, "first_id": None, "last_id": None}

    @app.get("/v1/jobs/{job_id}/events")
    async def events(job_id: str, request: Request, after: str | None = None) -> Response:
        assert fake.get_job(TENANT, job_id)
        assert request.headers["accept"] == "text/event-stream"
        return StreamingResponse(fake.frames(request, after), media_type="text/event-stream")

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        fake.completion_requests.append(await request.json())
        return StreamingResponse(fake.written(), media_type="text/event-stream")
