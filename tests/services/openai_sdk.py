"""The unmodified `openai` package, its sync and its async client driven alike."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import httpx2
import openai
from api_service import Api


class Sdk:
    """`sdk("files.create", ...)` is what `client.files.create(...)` answers; `sdk.all` iterates over every page."""

    def __init__(self, client: openai.OpenAI | openai.AsyncOpenAI, runner: asyncio.Runner | None) -> None:
        self._client = client
        self._runner = runner

    def __call__(self, call: str, /, *arguments: Any, **named: Any) -> Any:
        answer = attrgetter(call)(self._client)(*arguments, **named)
        return self._runner.run(_awaited(answer)) if self._runner else answer

    def all(self, call: str, /, *arguments: Any, **named: Any) -> list[Any]:
        pages = attrgetter(call)(self._client)(*arguments, **named)
        return self._runner.run(_collected(pages)) if self._runner else list(pages)


@contextmanager
def sdk_of(api: Api, *, is_async: bool = False, **options: Any) -> Iterator[Sdk]:
    """A client of the first key, that repeats nothing unless told to."""
    options = {"base_url": f"{api.url}/v1", "api_key": api.key, "max_retries": 0} | options
    if not is_async:
        with openai.OpenAI(**options) as client:
            yield Sdk(client, None)
        return
    with asyncio.Runner() as runner:
        client = openai.AsyncOpenAI(**options)
        yield Sdk(client, runner)
        runner.run(client.close())


class LosesAnswers(httpx2.HTTPTransport):
    """A line on which the first `lost` answers to a POST do not come back, though the requests arrived."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self._lost = lost
        self.asked: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.headers["x-stainless-retry-count"])
        answer = super().handle_request(request)
        if request.method == "POST" and self._lost:
            self._lost -= 1
            answer.read()
            answer.close()
            raise httpx2.ReadTimeout("the answer was lost", request=request)
        return answer


async def _awaited(answer: Any) -> Any:
    return await answer


async def _collected(pages: Any) -> list[Any]:
    return [item async for item in pages]
