"""The whole public process on a free port, a checkpoint that was really trained, and samplers made by hand."""

import http.server
import json
import shutil
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn
from fastapi import FastAPI

from rnncore.checkpoint import Snapshot, save_checkpoint
from rnncore.corpus import TextPlan, TextScan
from rnncore.fit import Job, fit
from rnncore.loop import Point, Sample
from rnncore.manifest import MANIFEST, Manifest
from rnncore.metrics import bits_per_character
from rnncore.spec import JobSpec
from rnncore.text import load_text
from services import layout
from services.access import DEFAULT_TENANT, Access, key_digest
from services.app import create_app, listening_socket
from services.jobqueue import claims
from services.jobqueue.api_keys import ApiKey, ApiKeys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Checkpoint
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from services.storage import Storage

TEXT = "the cat sat on the mat and the dog ran at the hat. " * 60
SMALL_MODEL = {"cell": "gru", "hidden_size": 7, "num_layers": 2, "embedding_size": 5}
SMALL_TRAIN = {"batch_size": 3, "tbptt_steps": 11, "max_steps": 4}
LEASE_SECONDS = 30.0
Until = Callable[..., Any]


@contextmanager
def serving(app: FastAPI, bound: socket.socket, until: Until) -> Iterator[None]:
    """`app` under uvicorn in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive(), 30)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


class Api:
    """The public process, and the other side of what it talks to. Clients speak for tenant `default`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.scripts = RedisScripts(settings.redis_url or "", settings.secret)
        self.queue = JobQueue(self.scripts)
        self.storage = Storage.of(settings)
        self._bound = listening_socket(settings)
        self.url = f"http://127.0.0.1:{self._bound.getsockname()[1]}"
        self.anonymous = httpx.Client(base_url=self.url, timeout=30)
        self.client = self.anonymous

    @contextmanager
    def running(self, until: Until) -> Iterator["Api"]:
        with serving(self.app, self._bound, until), self.client_with(self.key) as self.client, self.anonymous:
            yield self
        self.scripts.close()

    def reset(self) -> None:
        """After Redis was emptied: empties the storage, lets the first key in again."""
        shutil.rmtree(self.settings.storage_url, ignore_errors=True)
        Access(ApiKeys(self.scripts), self.settings.secret).admit_first_key(self.settings)

    def client_with(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=30)

    def other_tenant(self) -> httpx.Client:
        """A client of tenant `other`; close it."""
        key = "unroll-key-of-the-other"
        ApiKeys(self.scripts).put(key_digest(self.settings.secret, key), ApiKey(id="other", tenant="other"))
        return self.client_with(key)

    def upload(self, content: str | bytes = TEXT, **params: str) -> dict[str, Any]:
        return _good(self.client.post("/v1/datasets", content=content, params=params))

    def submit(self, dataset: str | None = None, **changes: Any) -> dict[str, Any]:
        """A small job on `dataset`, or on TEXT."""
        dataset = dataset or self.upload()["id"]
        body = {"dataset": dataset, "model": SMALL_MODEL, "train": SMALL_TRAIN} | changes
        return _good(self.client.post("/v1/jobs", json=body))

    def claim(self) -> ClaimedJob:
        """The next job, in the hands of a trainer."""
        held = claims.claim(self.scripts, lease_seconds=LEASE_SECONDS)
        assert held is not None
        return ClaimedJob(self.scripts, held, lease_seconds=LEASE_SECONDS)

    def publish(self, job: ClaimedJob, trained: "Trained", step: int, validation_loss: float = 1.5) -> Checkpoint:
        """Does what a trainer does with a checkpoint: stores it, then lets its name appear; it becomes the best."""
        held = job.claim
        path = layout.checkpoint(held.job, held.epoch, step)
        draft = self.storage.draft_folder()
        shutil.copytree(trained.folder, draft)
        num_bytes = sum(file.stat().st_size for file in draft.iterdir())
        self.storage.delete(path)
        self.storage.publish_folder(draft, path, last=MANIFEST)
        checkpoint = Checkpoint(
            model=f"{held.job}:step-{step}",
            job=held.job,
            step=step,
            epoch=held.epoch,
            path=path,
            created_at=1000.0 + step,
            validation_loss=validation_loss,
            bits_per_character=bits_per_character(validation_loss),
            num_bytes=num_bytes,
            parameters_sha256=trained.manifest.parameters_sha256,
        )
        job.write(publish=[checkpoint], fields={"best": {"step": step, "validation_loss": validation_loss}})
        return checkpoint

    def stored(self) -> list[str]:
        """Every file in storage."""
        root = Path(self.settings.storage_url)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    @property
    def key(self) -> str:
        return (self.settings.root / "api_key").read_text().strip()

    @property
    def tenant(self) -> str:
        return DEFAULT_TENANT


def _good(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


class Trained:
    """A checkpoint folder that `fit` made of TEXT."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self.folder = folder / "checkpoint"
        self.secret = secret
        path = folder / "text"
        path.write_text(TEXT)
        scan = TextScan("characters")
        scan.feed(TEXT.encode())
        spec = JobSpec.model_validate({"dataset": "ds-" + "0" * 32, "model": SMALL_MODEL, "train": SMALL_TRAIN})
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        fit(Job("job-" + "0" * 16, 1, spec), load_text(path, TextPlan.of(spec, scan.summary())), self)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)

    def wants_suspension(self) -> bool:
        return False

    def before_step(self) -> None:
        """Nothing stops it."""

    def warn(self, text: str) -> None:
        """Nobody asks."""

    def after_point(self, point: Point) -> None:
        """Nobody asks."""

    def after_checkpoint(self, snapshot: Snapshot, samples: list[Sample], *, is_best: bool) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.manifest: Manifest = save_checkpoint(self.folder, snapshot, self.secret)


class FakeSampler(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A sampler that answers each command as `answer` says."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, answer: Callable[["SamplerRequest"], None]) -> None:
        super().__init__(str(path), SamplerRequest)
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    @contextmanager
    def running(self) -> Iterator["FakeSampler"]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class SamplerRequest(http.server.BaseHTTPRequestHandler):
    """One request to a FakeSampler, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: FakeSampler

    def do_GET(self) -> None:
        self.whole(200, {"status": "ok"})

    def do_POST(self) -> None:
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.server.answer(self)

    def whole(self, status: int, body: object, content_type: str = "application/json") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(raw)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()

    def chunk(self, text: str) -> None:
        raw = text.encode()
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
        self.wfile.flush()

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""
