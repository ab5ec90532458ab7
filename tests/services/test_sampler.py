"""The sampler's own door and its places. The public process in front of it is tested in test_api_completions.py."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_service import Trained
from fastapi import FastAPI

from services.access import sampler_token
from services.sampling.app import create_app
from services.settings import Settings

PLACES = 1030  # more than one key may have at once


@pytest.fixture
def sampler(tmp_path: Path, trained: Trained) -> FastAPI:
    """A sampler whose storage holds the checkpoint `trained`."""
    (tmp_path / "given_secret").write_bytes(trained.secret)
    named = {"UNROLL_SECRET_FILE": tmp_path / "given_secret", "UNROLL_STORAGE": str(trained.folder.parent)}
    settings = Settings(**{"UNROLL_HOME": tmp_path, **named})
    app = create_app(settings)
    app.state.headers = {"authorization": f"Bearer {sampler_token(settings.secret)}"}
    return app


def command(**asked: Any) -> dict[str, Any]:
    request = {"model": "m", "prompt": "the", "max_tokens": 5, **asked}
    return {"request": request, "checkpoint": "checkpoint", "parameters": "abc", "tenant": "lab", "key": "k"}


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://sampler")


def post(app: FastAPI, *bodies: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
    """The last of the answers of one sampler."""

    async def ask() -> httpx.Response:
        async with app.router.lifespan_context(app), client(app) as http:
            for body in bodies:
                shown = app.state.headers if headers is None else headers
                answer = await http.post("/completions", json=body, headers=shown)
            return answer

    return asyncio.run(ask())


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": ""}])
def test_sampler_answers_to_nobody_but_the_public_process(sampler: FastAPI, headers: dict[str, str]) -> None:
    answer = post(sampler, command(), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_checkpoint_that_is_not_there_is_404(sampler: FastAPI) -> None:
    answer = post(sampler, command() | {"checkpoint": "nothing"})
    assert answer.status_code in (404, 500)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def _ask_and_leave(app: FastAPI) -> None:
    """Asks for a stream, and is gone before the answer begins."""
    messages = iter([{"type": "http.request", "body": json.dumps(command(stream=True)).encode(), "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        """Nobody listens."""

    headers = {"content-type": "application/json", **app.state.headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/completions",
        "raw_path": b"/completions",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": ("sampler", 80),
    }
    await app(scope, receive, send)


def test_clients_that_leave_at_once_free_their_places(sampler: FastAPI) -> None:
    async def run() -> httpx.Response:
        async with sampler.router.lifespan_context(sampler), client(sampler) as http:
            for _ in range(PLACES):
                await _ask_and_leave(sampler)
            return await http.post("/completions", json=command(), headers=sampler.state.headers)

    assert asyncio.run(run()).status_code == 200


def test_refused_requests_free_their_places(sampler: FastAPI) -> None:
    assert post(sampler, command(prompt="Z")).status_code == 422
    assert post(sampler, *PLACES * [command(prompt="Z")], command()).status_code == 200
