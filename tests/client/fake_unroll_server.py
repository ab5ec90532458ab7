"""A hand-written server for the client's tests: answers what a test laid out, remembers what it was asked."""

import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

KEY = "unroll-test-key"
DATASET = "ds-" + "0123456789abcdef" * 2
JOB = "job-0123456789ab"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """`hangs_up`: no answer at all. `stays_open`: after the body nothing more comes, and the stream does not end."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool = False
    stays_open: bool = False


class FakeServer:
    """`on(method, path, reply, ...)`: one reply after another; the last one is given for ever."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)
        self.is_streaming = threading.Event()
        self._release = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self.replies[method, path] = list(replies)

    def asked(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        laid_out = self.replies.get((request.method, request.path))
        if not laid_out:
            return refused(404, f"no route {request.method} {request.path}")
        return laid_out.pop(0) if len(laid_out) > 1 else laid_out[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                body = self.read_body()
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = fake.reply(Request(self.command, parts.path, query, headers, body))
                if reply.hangs_up:
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                if reply.stays_open:
                    self.wfile.flush()
                    fake.is_streaming.set()
                    fake._release.wait()

            def read_body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # the names that http.server calls

            def log_message(self, format: str, *args: object) -> None: ...

        return Handler


def answer(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def refused(status: int, message: str, **fields: Any) -> Reply:
    headers = fields.pop("headers", {})
    error = {"message": message, "type": "some_error", "param": None, "code": None, **fields}
    return Reply(status, json.dumps({"error": error}).encode(), headers)


def listed(*items: Any, has_more: bool = False) -> Reply:
    last = items[-1].get("id") if items else None
    return answer({"object": "list", "data": list(items), "has_more": has_more, "first_id": None, "last_id": last})


def stream(*frames: str, stays_open: bool = False) -> Reply:
    return Reply(200, "".join(frames).encode(), {"Content-Type": "text/event-stream"}, stays_open=stays_open)


DONE = "data: [DONE]\n\n"


def event(number: int, type: str, **data: Any) -> str:
    value = {"id": f"{number}-0", "object": "event", "type": type, "created_at": 1700000000.5, "data": data}
    return f"id: {number}-0\nevent: {type}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n"


def metrics(number: int, step: int, **data: Any) -> str:
    row = {
        "epoch": 1,
        "step": step,
        "characters": step * 2048,
        "train_loss": 1.75,
        "gradient_norm": 0.5,
        "learning_rate": 0.004,
        "characters_per_second": 51234.0,
        "training_seconds": 9.0,
        "ratio": step / 700,
        "eta_seconds": 95.0,
        "validation_loss": None,
        "bits_per_character": None,
        **data,
    }
    return event(number, "metrics", **row)


def checkpoint(number: int, step: int, text: str, prompt: str = "") -> str:
    return event(
        number,
        "checkpoint",
        object="checkpoint",
        model=f"{JOB}:step-{step}",
        job=JOB,
        step=step,
        epoch=1,
        samples=[{"prompt": prompt, "text": text}],
    )


def record(state: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": JOB,
        "object": "job",
        "state": state,
        "tenant": "default",
        "created_at": 1700000000.0,
        "spec": {
            "dataset": DATASET,
            "name": "plays",
            "model": {"cell": "gru", "num_layers": 2, "hidden_size": 96},
            "train": {"max_steps": 700},
        },
        **fields,
    }


def dataset() -> dict[str, Any]:
    return {
        "id": DATASET,
        "object": "dataset",
        "kind": "text",
        "name": "plays.txt",
        "created_at": 1700000000.0,
        "num_bytes": 11,
        "sha256": "ab" * 32,
        "summary": {"kind": "text", "num_symbols": 11, "num_distinct": 7},
        "uses": 0,
    }
