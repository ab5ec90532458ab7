"""The models that the fake service has, what they answer, and pieces of a stream that are scored."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

Body = dict[str, Any]


class FakeModels:
    """`jobs` maps a model to its job; `answer` answers a prediction; `refuse` may refuse a completion."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.answer: Callable[[Body], Any] = lambda _: {"data": []}
        self.asked: list[Body] = []
        self.refuse: Callable[[Body], JSONResponse | None] = lambda _: None


def add_model_routes(app: FastAPI, fake: FakeModels) -> None:
    def model(name: str) -> Body:
        return {"id": name, "job": fake.jobs[name], "step": 800, "bits_per_character": 1.5, "alias_of": None}

    @app.get("/v1/models")
    def models() -> Body:
        return {"object": "list", "data": [model(name) for name in fake.jobs], "has_more": False}

    @app.get("/v1/models/{name}")
    def one(name: str) -> Any:
        if name in fake.jobs:
            return model(name)
        return JSONResponse({"error": {"message": f"no model {name!r}", "param": "model_id"}}, 404)

    @app.post("/v1/predict")
    async def predict(request: Request) -> Any:
        fake.asked.append(await request.json())
        return fake.answer(fake.asked[-1])


def piece(
    names: Sequence[str], *, bits: float = 1.0, state: str | None = None, top: dict[str, float] | None = None
) -> Body:
    """A chunk of a stream: each symbol cost so many bits; `top` are probabilities of others in its place."""
    logprob = -bits * math.log(2)
    others = {name: math.log(probability) for name, probability in (top or {}).items()}
    logprobs = {
        "tokens": list(names),
        "token_logprobs": [logprob] * len(names),
        "top_logprobs": [others | {name: logprob} for name in names],
        "text_offset": list(range(len(names))),
    }
    choice = {"index": 0, "text": "".join(names), "logprobs": logprobs, "finish_reason": "length" if state else None}
    return {"choices": [choice | ({"state": state} if state else {})]}
