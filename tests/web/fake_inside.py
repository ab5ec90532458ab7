"""The insides that the fake service has: checkpoints, what was seen in each, and what is seen in any text."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from rnncore.encoding import Encoding
from rnncore.inspection import Copying, Inspection
from rnncore.network import RecurrentNetwork
from rnncore.probes import Options, inspect
from rnncore.spec import ModelSpec
from rnncore.vocabulary import Vocabulary

LETTERS = "abcdefghijk"
ENCODING = Encoding(vocabulary=Vocabulary(kind="characters", symbols=LETTERS))
TEXT = "abcabcabkabcdefghijkabc"
Seen = dict[str, Any]


class FakeInside:
    """`seen[job][step]` is stored; `look` answers what is asked anew."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[int, Seen]] = {}
        self.look: Callable[[dict[str, Any]], Seen | JSONResponse] = lambda _: {}
        self.asked: list[dict[str, Any]] = []

    def checkpoints(self, job: str) -> list[dict[str, Any]]:
        """As /v1 lists them, the newest first."""
        steps = sorted(self.seen.get(job, {}), reverse=True)
        return [
            {
                "model": f"{job}:step-{step}",
                "step": step,
                "bits_per_character": 3 - step / 1000,
                "parameters_sha256": f"{job} {step}",
                "is_best": step == steps[0],
            }
            for step in steps
        ]


def add_inside_routes(app: FastAPI, fake: FakeInside) -> None:
    @app.get("/v1/jobs/{job_id}/checkpoints")
    def checkpoints(job_id: str) -> dict[str, Any]:
        return {"object": "list", "data": fake.checkpoints(job_id), "has_more": False}

    @app.get("/v1/jobs/{job_id}/checkpoints/{step}/inspection")
    def inspection(job_id: str, step: int) -> Any:
        return fake.seen[job_id][step]

    @app.post("/v1/inspect")
    async def look(request: Request) -> Any:
        fake.asked.append(await request.json())
        return fake.look(fake.asked[-1])


@torch.no_grad()
def seen(
    text: str = TEXT,
    *,
    biases: dict[int, float] | None = None,
    units: list[tuple[int, int]] | None = None,
    copying: Copying | None = None,
    **model: Any,
) -> Seen:
    """A real look into a network of 11 symbols with all parameters zero, but the given biases of gates by their number.

    It holds each symbol for equally likely.
    """
    spec = ModelSpec.model_validate({"cell": "lstm", "hidden_size": 5, "num_layers": 1, "dropout": 0} | model)
    network = RecurrentNetwork(spec, vocabulary_size=len(LETTERS))
    for parameter in network.parameters():
        parameter.zero_()
    for gate, bias in (biases or {}).items():
        for layer in range(spec.num_layers):
            getattr(network.recurrent, f"bias_ih_l{layer}")[5 * gate : 5 * gate + 5] = bias
    network.output.weight.copy_(torch.eye(len(LETTERS), spec.hidden_size))  # all h are 0: a gradient, no preference
    options = Options(num_units=3, lags=10, window=4, units=tuple(units or ()))
    found = inspect(network.eval(), "language_model", ENCODING, ids(text), options, tbptt_steps=4)
    return dumped(found.model_copy(update={"copying": copying}))


def ids(text: str) -> Any:
    return np.array([LETTERS.index(symbol) for symbol in text])


def dumped(found: Inspection) -> Seen:
    return found.model_dump(mode="json")
