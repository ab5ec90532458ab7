"""The one public process, `python -m services.app`: puts api, web and exporter behind the door. No torch, no ray."""

import ipaddress
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio.to_thread
import structlog
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from rnncore.errors import Forbidden, NotFound, Unavailable, UnrollError
from services.access import SAFE_METHODS, Access
from services.api import completions, datasets, jobs, keys, models, sweeps, tenants, usage, webhooks, workers
from services.api.openai import files, fine_tuning
from services.api.rooms import Rooms
from services.api.sampler_client import SamplerClient
from services.api.turnstile import Turnstile
from services.door import Door
from services.exporter.collector import QueueCollector
from services.exporter.http import HttpMetrics
from services.exporter.storage import StorageCollector
from services.faults import answer_headers, envelope, error_answer
from services.jobqueue.api_keys import ApiKey, ApiKeys, Scope
from services.jobqueue.drain import Drains
from services.jobqueue.durability import check_durability
from services.jobqueue.floor import Floor
from services.jobqueue.line import Lines
from services.jobqueue.listing import JobListing
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.snapshot import QueueSnapshot, queue_snapshot
from services.jobqueue.stream import EventStream
from services.jobqueue.sweeps import Sweeps
from services.jobqueue.tenants import Tenants
from services.jobqueue.tries import Tries
from services.jobqueue.usage import UsageLedger
from services.jobqueue.webhooks import Webhooks
from services.limits import allow_many_sockets
from services.logs import configure_logs
from services.metrics.registry import process_registry
from services.settings import Settings
from services.storage import Storage
from services.traces import configure_traces
from services.web import pages, sessions
from services.web.shelves import RoomShelves, Shelves
from services.web.site import Holder, Site, Sources
from services.webhooks import Messenger

log = structlog.get_logger(__name__)

VERSION = version("unroll-server")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_PLACES = ("body", "query", "path", "header")
_THREADS = 64
_ANSWERS_AT_ONCE = 64
_CHANGES_SECONDS = 1.0
_DATASETS_ON_PAGE = 200
_STOP_SECONDS = 3


def create_app(settings: Settings) -> FastAPI:
    """The public application. Redis is not needed to make it, only to answer."""
    scripts = RedisScripts(settings.redis_url or "", settings.secret)
    idempotency_seconds = int(min(settings.retention_days, 30) * 86_400)
    queue = JobQueue(scripts, idempotency_seconds=idempotency_seconds)
    access = Access(ApiKeys(scripts), settings.secret)
    webhooks_of_tenants = Webhooks(scripts)
    rooms = Rooms(
        settings=settings,
        queue=queue,
        sweeps=Sweeps(scripts, idempotency_seconds=idempotency_seconds),
        access=access,
        tenants=Tenants(scripts),
        floor=Floor(scripts),
        lines=Lines(scripts, queue),
        usage=UsageLedger(scripts),
        tries=Tries(scripts),
        webhooks=webhooks_of_tenants,
        events=EventStream(settings.redis_url or ""),
        storage=Storage.of(settings),
        sampler=SamplerClient(settings),
        turnstile=Turnstile(_ANSWERS_AT_ONCE),
    )

    networks = [ipaddress.ip_network(network) for network in settings.webhook_networks]
    messenger = Messenger(rooms.webhooks, queue, settings.secret, networks) if settings.webhooks == "on" else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        await run_in_threadpool(scripts.check_schema)
        await run_in_threadpool(check_durability, scripts, settings)
        await run_in_threadpool(access.admit_first_key, settings)
        app.state.rooms = rooms
        if messenger:
            messenger.start()
        yield
        if messenger:
            await run_in_threadpool(messenger.stop)
        await rooms.sampler.close()
        await rooms.events.close()
        scripts.close()

    app = FastAPI(
        title="Unroll",
        version=VERSION,
        description="Trains, watches and samples recurrent networks.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    rooms_of_v1 = (
        datasets,
        jobs,
        sweeps,
        models,
        completions,
        files,
        fine_tuning,
        keys,
        tenants,
        usage,
        webhooks,
        workers,
    )
    for room in rooms_of_v1:
        app.include_router(room.router)
    _add_faults(app)
    registry = process_registry()
    registry.register(QueueCollector(lambda: _snapshot(scripts)))
    registry.register(StorageCollector(rooms.storage.free_bytes, settings.reserve_bytes))
    _add_health(app, rooms, Drains(scripts), registry)
    shelves = RoomShelves(queue, rooms.sweeps, rooms.storage, rooms.tenants, rooms.floor, rooms.lines, Drains(scripts))
    site = _pages(rooms, JobListing(scripts, queue), shelves)
    app.mount("/static", pages.static_files())
    app.include_router(site.router)
    app.add_middleware(
        Door,
        access=access,
        session=lambda request: _session(request, settings.secret, access),
        allowed_hosts=frozenset((*_LOOPBACK, settings.host, *settings.allowed_hosts)),
        # Pages send who is not logged in to the login; static files are nobody's secret.
        own_guard=lambda path: path.startswith("/static/") or site.owns(path),
    )
    app.add_middleware(HttpMetrics, registry=registry)
    return app


def _snapshot(scripts: RedisScripts) -> QueueSnapshot | None:
    try:
        return queue_snapshot(scripts)
    except Unavailable:
        return None


def _add_faults(app: FastAPI) -> None:
    @app.exception_handler(UnrollError)
    async def refused(_: Request, error: UnrollError) -> JSONResponse:
        status, body = error_answer(error)
        return JSONResponse(body, status, answer_headers(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = [part for part in map(str, first["loc"]) if part not in _PLACES and not part.startswith("<")]
        message = first["msg"].removeprefix("Value error, ")
        param = ".".join(where) or None
        text = f"{param}: {message}" if param else message
        return JSONResponse(envelope(text, type="invalid_request_error", code=first["type"], param=param), 422)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        body = envelope(str(error.detail), type="invalid_request_error", code=f"http_{error.status_code}")
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("unforeseen fault", path=request.url.path, exc_info=error)
        status, body = error_answer(error)
        # Starlette answers these outside every middleware, the door included.
        return JSONResponse(body, status, {"x-request-id": request.state.request_id})


def _add_health(app: FastAPI, rooms: Rooms, drains: Drains, registry: CollectorRegistry) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "Redis does not answer."}})
    async def readyz() -> Response:
        """Whether jobs can be taken; `sampler` tells whether completions are answered, `drain` what starts no jobs."""
        checks = {"redis": "ok", "sampler": "ok"}
        try:
            await run_in_threadpool(rooms.queue.ping)
            if told := await run_in_threadpool(drains.told):
                checks["drain"] = told
        except UnrollError as error:
            checks["redis"] = str(error)
        try:
            await rooms.sampler.check()
        except UnrollError as error:
            checks["sampler"] = str(error)
        is_ready = checks["redis"] == "ok"
        body = {"status": "ok" if is_ready else "unavailable", "checks": checks, "version": VERSION}
        return JSONResponse(body, 200 if is_ready else 503)

    @app.get(
        "/metrics",
        tags=["health"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def metrics() -> Response:
        """Prometheus metrics of the queue, the trainers and this process."""
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _pages(rooms: Rooms, listing: JobListing, shelves: Shelves) -> Site:
    """The pages over what they read. To them a key is `TENANT:ID`."""

    def check_key(raw: str) -> str | None:
        key = rooms.access.check(raw)
        return f"{key.tenant}:{key.id}" if key and Scope.READ in key.scopes else None

    def holder(key_id: str) -> Holder | None:
        key = rooms.access.by_id(*key_id.split(":", 1))
        return Holder(key.tenant, frozenset(key.scopes)) if key and Scope.READ in key.scopes else None

    def get_job(tenant: str, job_id: str) -> JobRecord | None:
        try:
            return rooms.queue.job(tenant, job_id)
        except NotFound:
            return None

    return pages.site(
        Sources(
            secret=rooms.settings.secret,
            version=VERSION,
            check_key=check_key,
            holder=holder,
            find_jobs=listing.find,
            names_of_datasets=listing.names_of_datasets,
            changes=lambda tenant, ids: rooms.events.changes(tenant, ids, wait_seconds=_CHANGES_SECONDS),
            get_job=get_job,
            checkpoints=rooms.queue.checkpoints,
            datasets=lambda tenant: rooms.queue.datasets.list(tenant, limit=_DATASETS_ON_PAGE)[0],
            shelves=shelves,
        )
    )


def _session(request: HTTPConnection, secret: bytes, access: Access) -> ApiKey | None:
    cookie = request.cookies.get(sessions.COOKIE_NAME, "")
    holder = sessions.verify(secret, cookie, time.time()) if cookie else None
    if holder is None:
        return None
    token = request.headers.get(sessions.CSRF_HEADER, "")
    if request.scope["method"] not in SAFE_METHODS and not sessions.csrf_matches(secret, cookie, token):
        raise Forbidden(f"a change by cookie needs the page's token in the header {sessions.CSRF_HEADER}")
    tenant, _, key_id = holder.partition(":")
    return access.by_id(tenant, key_id)


def listening_socket(settings: Settings) -> socket.socket:
    """A bound socket; with port 0 any free one."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((settings.host, settings.port))
    return bound


def main() -> None:
    """Serves until SIGTERM."""
    configure_logs()
    configure_traces("app")
    allow_many_sockets()
    settings = Settings()
    config = uvicorn.Config(
        create_app(settings),
        http="h11",  # httptools, which comes with Ray Serve, reads headers of any size into memory
        ws="none",
        log_config=None,
        log_level="warning",
        server_header=False,
        # Streams that somebody watches do not end by themselves; their readers come back with Last-Event-ID.
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening_socket(settings)])


if __name__ == "__main__":
    main()
