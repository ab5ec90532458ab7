"""Both clients have a method for every route of the OpenAPI document, and their types every field of its answers."""

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

import httpx
import pytest
import unroll.types
from pydantic import BaseModel
from unroll import AsyncClient, Client, UnrollError

from docs.generate.__main__ import openapi

D = "ds-" + "0" * 32
# One call for each route: what is called with which arguments, by `METHOD path`.
CALLS: dict[str, Callable[[Any], Any]] = {
    "POST /v1/datasets": lambda c: c.datasets.upload(b"a"),
    "GET /v1/datasets": lambda c: c.datasets.list(),
    "GET /v1/datasets/{dataset_id}": lambda c: c.datasets.get(D),
    "DELETE /v1/datasets/{dataset_id}": lambda c: c.datasets.delete(D),
    "GET /v1/datasets/{dataset_id}/content": lambda c: c.datasets.content(D),
    "GET /v1/datasets/{dataset_id}/preview": lambda c: c.datasets.preview(D),
    "POST /v1/jobs": lambda c: c.jobs.submit(dataset=D),
    "GET /v1/jobs": lambda c: c.jobs.list(state="running", metadata={"a": "b"}),
    "GET /v1/jobs/{job_id}": lambda c: c.jobs.get("j"),
    "DELETE /v1/jobs/{job_id}": lambda c: c.jobs.delete("j"),
    "POST /v1/jobs/{job_id}/verify": lambda c: c.jobs.verify("j"),
    "POST /v1/jobs/{job_id}/retry": lambda c: c.jobs.retry("j", train={"max_steps": 3}),
    "POST /v1/jobs/{job_id}/cancel": lambda c: c.jobs.cancel("j"),
    "POST /v1/jobs/{job_id}/pause": lambda c: c.jobs.pause("j"),
    "POST /v1/jobs/{job_id}/resume": lambda c: c.jobs.resume("j"),
    "GET /v1/jobs/{job_id}/events": lambda c: c.jobs.events("j"),
    "GET /v1/jobs/{job_id}/metrics": lambda c: c.jobs.metrics("j"),
    "GET /v1/jobs/{job_id}/logs": lambda c: c.jobs.logs("j"),
    "GET /v1/jobs/{job_id}/checkpoints": lambda c: c.jobs.checkpoints("j"),
    "GET /v1/jobs/{job_id}/samples": lambda c: c.jobs.samples("j"),
    "GET /v1/jobs/{job_id}/checkpoints/{step}/inspection": lambda c: c.jobs.inspection("j", 3),
    "POST /v1/sweeps": lambda c: c.sweeps.create(spec={"dataset": D}, parameters={}),
    "GET /v1/sweeps": lambda c: c.sweeps.list(),
    "GET /v1/sweeps/{sweep_id}": lambda c: c.sweeps.retrieve("s"),
    "GET /v1/sweeps/{sweep_id}/trials": lambda c: c.sweeps.trials("s"),
    "POST /v1/sweeps/{sweep_id}/cancel": lambda c: c.sweeps.cancel("s"),
    "DELETE /v1/sweeps/{sweep_id}": lambda c: c.sweeps.delete("s"),
    "GET /v1/models": lambda c: c.models.list(checkpoints=True),
    "GET /v1/models/{model_id}": lambda c: c.models.get("j:latest"),
    "PUT /v1/models/{model_id}": lambda c: c.models.alias("best", "j"),
    "DELETE /v1/models/{model_id}": lambda c: c.models.delete("best"),
    "GET /v1/models/{model_id}/export": lambda c: c.models.export("j", format="onnx"),
    "POST /v1/completions": lambda c: c.completions.create(model="j"),
    "POST /v1/predict": lambda c: c.models.predict("j", ["a"]),
    "POST /v1/inspect": lambda c: c.models.inspect("j", "a"),
    "GET /v1/keys": lambda c: c.keys.list(),
    "POST /v1/keys": lambda c: c.keys.create(name="n"),
    "DELETE /v1/keys/{key_id}": lambda c: c.keys.revoke("k"),
    "GET /v1/tenants": lambda c: c.tenants.list(),
    "GET /v1/tenants/{tenant}": lambda c: c.tenants.get("t"),
    "PUT /v1/tenants/{tenant}": lambda c: c.tenants.put("t", weight=2),
    "GET /v1/usage": lambda c: c.usage(),
    "GET /v1/workers": lambda c: c.workers(),
    "GET /v1/queue": lambda c: c.queue(),
    "GET /v1/webhooks": lambda c: c.webhooks.list(),
    "POST /v1/webhooks": lambda c: c.webhooks.create("http://x"),
    "DELETE /v1/webhooks/{webhook_id}": lambda c: c.webhooks.delete("w"),
    "GET /readyz": lambda c: c.readiness(),
}
# OpenAI's client speaks to these, a probe and Prometheus to those.
NOT_OURS = re.compile(r"^/v1/(files|fine_tuning)\b|^/healthz$|^/metrics$")
# What the client calls the answers of the document, where it is not the same.
NAMES = {
    "DatasetAnswer": "Dataset",
    "KeyRecord": "ApiKey",
    "NewKey": "ApiKey",
    "NewWebhook": "Webhook",
    "PointReport": "Point",
    "PredictionAnswer": "Prediction",
    "services__jobqueue__usage__Usage": "Usage",
}
# Answers, and parts of answers, that the client hands on as the objects that they are.
OBJECTS = frozenset(
    {
        "Copying",
        "Deleted",
        "Gradient",
        "LayerView",
        "ModelSpec",
        "Occupant",
        "Placement",
        "ResourcesSpec",
        "RowFacts",
        "SeriesFacts",
        "SweepSpec",
        "SymbolView",
        "TextFacts",
        "TrainSpec",
        "TrialOf",
        "UnitView",
        "WindowLoss",
        "WrittenSequence",
        "WrittenText",
        "services__wire__Usage",
    }
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi()


class Recorder(httpx.MockTransport):
    """Notes what is asked, and refuses it."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        super().__init__(self._note)

    def _note(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(404, json={"error": {"message": "none"}})


async def _awaited(work: Any) -> None:
    if inspect.isasyncgen(work):
        async for _ in work:
            pass
    else:
        await work


def _requests(kind: type[Any], call: Callable[[Any], Any]) -> list[httpx.Request]:
    recorder = Recorder()
    client = kind("http://127.0.0.1:1", "key", max_retries=0)
    http = httpx.AsyncClient if kind is AsyncClient else httpx.Client
    client._transport._http = http(transport=recorder, base_url=client.url)
    try:
        if kind is AsyncClient:
            asyncio.run(_awaited(call(client)))
        else:
            found = call(client)
            list(found) if isinstance(found, Iterator) else None
    except UnrollError:
        pass
    return recorder.asked


def test_every_route_has_a_call(document: dict[str, Any]) -> None:
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert {route for route in routes if not NOT_OURS.search(route.partition(" ")[2])} == set(CALLS)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("route", CALLS)
def test_call_asks_for_its_route(kind: type[Any], route: str) -> None:
    method, path = route.split()
    (request,) = _requests(kind, CALLS[route])
    assert request.method == method
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request.url.path)


def test_both_clients_offer_the_same_methods_with_the_same_parameters() -> None:
    def offered(client: Any) -> dict[str, list[str]]:
        parts = {
            name: part for name, part in vars(client).items() if name != "_transport" and not isinstance(part, str)
        }
        return {
            f"{name}.{method}": list(inspect.signature(function).parameters)
            for name, part in {"": client, **parts}.items()
            for method, function in inspect.getmembers(part, callable)
            if not method.startswith("_")
        }

    assert offered(AsyncClient("http://127.0.0.1:1", "k")) == offered(Client("http://127.0.0.1:1", "k"))


def _answers(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The objects that our routes answer with, parts included, by name."""
    schemas, found = document["components"]["schemas"], {}

    def visit(node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                visit(one)
        elif isinstance(node, dict):
            for one in node.values():
                visit(one)
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found and "properties" in schemas[name]:
                found[name] = schemas[name]
                if _class_of(name) is not None or name.startswith("Page_"):
                    visit(schemas[name]["properties"])

    for path, methods in document["paths"].items():
        if not NOT_OURS.search(path):
            visit([one["responses"]["200"] for one in methods.values()])
    return found


def _class_of(name: str) -> type[BaseModel] | None:
    kind = getattr(unroll.types, NAMES.get(name, name), None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def test_types_have_every_field_of_every_answer(document: dict[str, Any]) -> None:
    answers = {name: schema for name, schema in _answers(document).items() if not name.startswith("Page_")}
    as_objects = {name for name in answers if _class_of(name) is None}
    missing = {
        (name, field)
        for name, schema in answers.items()
        if (kind := _class_of(name)) is not None
        for field in schema["properties"]
        if field not in kind.model_fields
    }
    assert missing == set()
    assert as_objects == OBJECTS


def test_types_hold_no_field_that_no_answer_has(document: dict[str, Any]) -> None:
    known: dict[type[BaseModel], set[str]] = {}
    for name, schema in _answers(document).items():
        if (kind := _class_of(name)) is not None:
            known.setdefault(kind, set()).update(schema["properties"])
    stale = {
        (kind.__name__, field) for kind, fields in known.items() for field in kind.model_fields if field not in fields
    }
    assert stale == set()


def test_numbers_are_numbers_and_texts_texts(document: dict[str, Any]) -> None:
    kinds = {"string": str, "integer": (int, float), "number": (int, float), "boolean": bool}
    wrong = []
    for name, schema in _answers(document).items():
        if (kind := _class_of(name)) is None:
            continue
        for field, described in schema["properties"].items():
            expected = kinds.get(described.get("type", ""))
            if expected is None or field not in kind.model_fields or "enum" in described or "const" in described:
                continue
            annotation = kind.model_fields[field].annotation
            choices = get_args(annotation) or (annotation,)
            if not any(
                get_origin(one) is None and isinstance(one, type) and issubclass(one, expected) for one in choices
            ):
                wrong.append((name, field, annotation))
    assert [one for one in wrong if one[1] not in ("date", "start", "end")] == []
