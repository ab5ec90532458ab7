"""A hand-written /v1 behind the real pages: jobs, events and completions are what the test says they are.

It guards itself as the real door does: a session cookie for everything, the CSRF token and an own Origin on each POST.
"""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fake_inside import FakeInside, add_inside_routes
from fake_models import FakeModels, add_model_routes
from fake_rooms import FakeShelves, add_room_routes
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from rnncore.spec import JobSpec, ModelSpec
from services.jobqueue.listing import JobQuery, Listing
from services.jobqueue.records import Checkpoint, Dataset, JobRecord, JobState, Progress, Scores
from services.web import pages, sessions
from services.web.site import Holder, Sources

SECRET = b"a secret of the tests"
KEY = "unroll-key-of-the-tests"
KEY_ID = "key-1"
TENANT = "tenant-1"
DATASET = "ds-" + "0" * 32
SCOPES = frozenset({"read", "train", "sample"})


def job_record(job_id: str = "job-1", **changes: Any) -> JobRecord:
    """A running job that stands at 42 %."""
    name = changes.pop("name", None)
    fields: dict[str, Any] = {
        "id": job_id,
        "state": JobState.RUNNING,
        "spec": JobSpec(dataset=DATASET, name=name, model=ModelSpec(cell="lstm", hidden_size=320)),
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
        self.shelves = FakeShelves()
        self.scopes = SCOPES
        self.datasets = {DATASET: "shakespeare.txt"}
        self.stored: list[Dataset] = []
        self.submitted: list[dict[str, Any]] = []
        self.becomes: dict[str, JobRecord] = {}  # by the action that makes it so
        self.uploads: list[tuple[dict[str, str], bytes]] = []
        self.checkpoints: list[Checkpoint] = []
        self.queries: list[JobQuery] = []
        self.watched: list[list[str]] = []
        self.samples: list[dict[str, Any]] = []
        self.log: list[str] = []
        self.refusals: dict[str, JSONResponse] = {}
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.sent: list[tuple[str, str]] = []
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
        self.inside = FakeInside()
        self.models = FakeModels()
        self._streams_changed = threading.Condition()
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def session(self) -> str:
        """The cookie of somebody who has just logged in."""
        return sessions.issue(SECRET, KEY_ID, time.time())

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

    def find_jobs(self, tenant: str, query: JobQuery) -> Listing:
        """What the real listing would find by state, by pages; each question is kept."""
        self.queries.append(query)
        own = [job for job in self.jobs if job.tenant == tenant]
        found = [job for job in own if query.state in (None, job.state)]
        first = (query.page - 1) * query.size
        return Listing(found[first : first + query.size], len(found), Counter(job.state for job in own), len(own))

    async def changes(self, tenant: str, job_ids: Sequence[str]) -> AsyncIterator[list[str]]:
        """Tells that something changed whenever the test says so."""
        self.watched.append(list(job_ids))
        self._count_stream(1)
        try:
            while not self.is_closing:
                await self.next_change()
                yield [job.id for job in self.jobs]
        finally:
            self._count_stream(-1)

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
            if "error" in body:
                return
        yield "data: [DONE]\n\n"

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serves on a free port in a thread; the address. Once more after it has ended: on the same port."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        bound = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        self.is_closing = False
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
            self._loop = None
            assert not thread.is_alive()


def frame(event: dict[str, Any] | None) -> str:
    if event is None:
        return "data: [DONE]\n\n"
    return f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"


def refusal(status: int, message: str, param: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "param": param, "code": None}}, status)


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
                find_jobs=fake.find_jobs,
                names_of_datasets=lambda ids: {each: fake.datasets[each] for each in ids if each in fake.datasets},
                changes=fake.changes,
                get_job=fake.get_job,
                datasets=lambda _: fake.stored,
                checkpoints=lambda _, __: fake.checkpoints,
                shelves=fake.shelves,
            )
        ).router
    )
    add_guard(app, fake)
    add_routes(app, fake)
    add_inside_routes(app, fake.inside)
    add_model_routes(app, fake.models)
    add_room_routes(app, fake.shelves)
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
            if request.method != "GET" and not sessions.csrf_matches(SECRET, cookie, token):
                return refusal(403, "no CSRF token")
        return await call_next(request)


def add_routes(app: FastAPI, fake: FakeV1) -> None:
    @app.get("/v1/jobs")
    def jobs() -> dict[str, Any]:
        return {"object": "list", "data": fake.jobs, "has_more": False}

    @app.get("/v1/jobs/{job_id}")
    def job(job_id: str) -> Any:
        return fake.get_job(TENANT, job_id) or refusal(404, "no such job")

    @app.get("/v1/jobs/{job_id}/metrics")
    def metrics(job_id: str, after: int = 0) -> dict[str, Any]:
        assert fake.get_job(TENANT, job_id)
        rows = [row for row in fake.histories.get(job_id, fake.history) if row["step"] > after]
        return {"object": "list", "data": rows, "has_more": False, "first_id": None, "last_id": None}

    @app.get("/v1/jobs/{job_id}/samples")
    def samples(job_id: str) -> dict[str, Any]:
        assert fake.get_job(TENANT, job_id)
        return {"object": "list", "data": fake.samples, "has_more": False, "first_id": None, "last_id": None}

    @app.get("/v1/jobs/{job_id}/logs")
    def logs(job_id: str, after: int = 0) -> Response:
        assert fake.get_job(TENANT, job_id)
        return PlainTextResponse("".join(f"{line}\n" for line in fake.log[after:]))

    @app.post("/v1/jobs")
    async def submit(request: Request) -> Any:
        fake.submitted.append(await request.json())
        return fake.refusals.get("submit") or fake.jobs[0]

    @app.post("/v1/datasets")
    async def upload(request: Request) -> Any:
        fake.uploads.append((dict(request.query_params), await request.body()))
        name, kind = request.query_params["name"], request.query_params["kind"]
        return fake.refusals.get("upload") or {"id": DATASET, "name": name, "kind": kind}

    @app.post("/v1/jobs/{job_id}/{action}")
    def act(job_id: str, action: str) -> Any:
        fake.sent.append((action, job_id))
        if action in fake.becomes:
            fake.jobs = [fake.becomes[action]]
        return fake.refusals.get(action) or fake.get_job(TENANT, job_id)

    @app.delete("/v1/jobs/{job_id}")
    def delete(job_id: str) -> Any:
        fake.sent.append(("delete", job_id))
        return {"id": job_id, "object": "job", "deleted": True}

    @app.get("/v1/jobs/{job_id}/events")
    async def events(job_id: str, request: Request, after: str | None = None) -> Response:
        assert fake.get_job(TENANT, job_id)
        assert request.headers["accept"] == "text/event-stream"
        return StreamingResponse(fake.frames(request, after), media_type="text/event-stream")

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        fake.completion_requests.append(await request.json())
        if refused := fake.models.refuse(fake.completion_requests[-1]):
            return refused
        return StreamingResponse(fake.written(), media_type="text/event-stream")
