"""The OpenAPI document: complete about errors, and true about what is answered."""

import subprocess
import sys
from typing import Any

import httpx
import jsonschema
import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, TEXT, Api, Trained
from fastapi.routing import iter_route_contexts
from sweep_samples import sweeper

ENVELOPE = {"$ref": "#/components/schemas/ErrorAnswer"}


@pytest.fixture(scope="session")
def document(running_api: Api) -> dict[str, Any]:
    return running_api.app.openapi()


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_document_describes_every_route_of_v1(running_api: Api, document: dict[str, Any]) -> None:
    served = {
        (method, context.path)
        for context in iter_route_contexts(running_api.app.routes)
        if context.path and context.path.startswith("/v1")
        for method in context.methods or ()
    }
    assert served == {key for key in operations(document) if key[1].startswith("/v1")}


@pytest.mark.parametrize("status", ["401", "422", "503"])
def test_every_route_documents_the_envelope(document: dict[str, Any], status: str) -> None:
    found = {
        key: operation["responses"].get(status, {}).get("content")
        for key, operation in operations(document).items()
        if key[1].startswith("/v1")
    }
    assert found == {key: {"application/json": {"schema": ENVELOPE}} for key in found}


def test_no_error_is_documented_in_fastapis_own_shape(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in str(document)
    errors = {
        str(answer["content"])
        for operation in operations(document).values()
        for status, answer in operation["responses"].items()
        if status >= "400" and "content" in answer
    }
    assert errors == {str({"application/json": {"schema": ENVELOPE}})}


def test_every_operation_has_a_sentence_and_a_name_of_its_own(document: dict[str, Any]) -> None:
    found = operations(document).values()
    assert all(operation.get("description", "").strip() for operation in found)
    assert len({operation["operationId"] for operation in found}) == len(found)


def test_document_itself_needs_a_key_and_is_the_served_one(api: Api, document: dict[str, Any]) -> None:
    assert api.anonymous.get("/openapi.json").status_code == 401
    assert api.client.get("/openapi.json").json() == document


class Checker:
    """Holds each answer against what the document says about it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.seen: set[tuple[str, str, int]] = set()

    def __call__(self, answer: httpx.Response, template: str) -> Any:
        method = answer.request.method
        content = operations(self._document)[method, template]["responses"][str(answer.status_code)]["content"]
        schema = content["application/json"]["schema"] | {"components": self._document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())
        self.seen.add((method, template, answer.status_code))
        return answer.json()


def test_answers_of_the_main_path_are_as_documented(api: Api, document: dict[str, Any], trained: Trained) -> None:
    check, http = Checker(document), api.client
    dataset = check(http.post("/v1/datasets", content=TEXT), "/v1/datasets")["id"]
    check(http.get("/v1/datasets"), "/v1/datasets")
    check(http.get(f"/v1/datasets/{dataset}"), "/v1/datasets/{dataset_id}")
    check(http.get(f"/v1/datasets/{dataset}/preview"), "/v1/datasets/{dataset_id}/preview")
    spec = {"dataset": dataset, "model": SMALL_MODEL, "train": SMALL_TRAIN}
    job = check(http.post("/v1/jobs", json=spec), "/v1/jobs")["id"]
    check(http.post("/v1/jobs", json=spec | {"x": 1}), "/v1/jobs")
    check(http.delete(f"/v1/datasets/{dataset}"), "/v1/datasets/{dataset_id}")
    held = api.claim()
    api.publish(held, trained, 4)
    held.write(events=[("metrics", {"step": 4})], fields={"progress": {"step": 4}, "warnings": ["w"]})
    check(http.get("/v1/jobs"), "/v1/jobs")
    check(http.get(f"/v1/jobs/{job}/events"), "/v1/jobs/{job_id}/events")
    check(http.get(f"/v1/jobs/{job}/metrics"), "/v1/jobs/{job_id}/metrics")
    check(http.get(f"/v1/jobs/{job}/checkpoints"), "/v1/jobs/{job_id}/checkpoints")
    check(http.post(f"/v1/jobs/{job}/cancel"), "/v1/jobs/{job_id}/cancel")
    asked = {"spec": spec, "parameters": {"train.seed": {"values": [1, 2]}}, "search": {"method": "grid"}}
    sweep = check(http.post("/v1/sweeps", json=asked), "/v1/sweeps")["id"]
    check(http.post("/v1/sweeps", json=asked | {"x": 1}), "/v1/sweeps")
    sweeper(api).step()
    check(http.get("/v1/sweeps"), "/v1/sweeps")
    check(http.get(f"/v1/sweeps/{sweep}"), "/v1/sweeps/{sweep_id}")
    check(http.get(f"/v1/sweeps/{sweep}/trials"), "/v1/sweeps/{sweep_id}/trials")
    check(http.post(f"/v1/sweeps/{sweep}/cancel"), "/v1/sweeps/{sweep_id}/cancel")
    sweeper(api).step()
    check(http.delete(f"/v1/jobs/{job}"), "/v1/jobs/{job_id}")
    held.fail({"type": "io_error", "message": "m", "hint": None, "log_tail": "t"}, retriable=False)
    check(http.get(f"/v1/jobs/{job}"), "/v1/jobs/{job_id}")
    check(http.get("/v1/models", params={"checkpoints": "true"}), "/v1/models")
    check(http.get(f"/v1/models/{job}"), "/v1/models/{model_id}")
    check(http.get("/v1/models/nothing"), "/v1/models/{model_id}")
    check(http.post("/v1/completions", json={"model": job}), "/v1/completions")
    check(api.anonymous.get("/v1/jobs"), "/v1/jobs")
    check(http.delete(f"/v1/jobs/{job}"), "/v1/jobs/{job_id}")
    check(http.delete(f"/v1/datasets/{dataset}"), "/v1/datasets/{dataset_id}")
    assert {status for _, _, status in check.seen} == {200, 401, 404, 409, 422, 503}


def test_public_process_loads_neither_torch_nor_ray() -> None:
    """The import contracts see what is written; this sees what is loaded."""
    program = (
        "import sys, services.app; "
        "print(sorted({'torch', 'pytorch_lightning', 'lightning', 'ray', 'safetensors', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
