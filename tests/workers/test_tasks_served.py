"""Every task beside the language model, through the service: upload, train, watch, predict."""

import hashlib
import json
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.running_service import Service

pytestmark = pytest.mark.system

# A rule that is simple, so that a few hundred steps learn it: labels and tags follow from single symbols.
WORDS = ["ab", "ba", "aab", "bba", "abab", "bbb", "aaa", "ba" * 3]


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def upload(service: Service, kind: str, content: bytes, **params: str) -> str:
    answer = service.api.post("/v1/datasets", params={"kind": kind, **params}, content=content)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def trained(service: Service, task: str, dataset: str, **train: Any) -> dict[str, Any]:
    fields = {"max_steps": 200, "batch_size": 8, "learning_rate": 0.02, "warmup_steps": 5, "precision": "fp32"}
    model = {"hidden_size": 16, "embedding_size": 8, "dropout": 0}
    spec = {"task": task, "dataset": dataset, "model": model, "train": fields | train}
    answer = service.api.post("/v1/jobs", json=spec)
    assert answer.status_code == 200, answer.text
    record = service.ended(answer.json()["id"])
    assert record["state"] == "succeeded", record["error"]
    return record


def predictions(service: Service, job: dict[str, Any], *inputs: Any, **options: Any) -> list[dict[str, Any]]:
    answer = service.api.post("/v1/predict", json={"model": job["id"], "inputs": inputs, **options})
    assert answer.status_code == 200, answer.text
    assert answer.json()["task"] == job["spec"]["task"]
    data: list[dict[str, Any]] = answer.json()["data"]
    assert [one["index"] for one in data] == list(range(len(inputs)))
    return data


def test_sequences_are_classified(service: Service) -> None:
    content = lines(*({"text": word, "label": f"ends in {word[-1]}"} for word in WORDS * 6))
    job = trained(service, "classify", upload(service, "labelled", content))
    assert job["best"]["metrics"]["accuracy"] == 1
    assert job["best"]["bits_per_character"] is None
    first, second = predictions(service, job, "abba", "b")
    assert (first["label"], second["label"]) == ("ends in a", "ends in b")
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert first["tags"] is None


def test_symbols_are_tagged(service: Service) -> None:
    content = lines(*({"inputs": list(word), "tags": word.upper()} for word in WORDS * 6))
    job = trained(service, "tag", upload(service, "tagged", content))
    assert [one["tags"] for one in predictions(service, job, "aabb", ["b", "a"])] == [list("AABB"), ["B", "A"]]


def test_series_is_forecast(service: Service) -> None:
    content = "day,level\n" + "".join(f"{n % 4},{100 + 10 * (n % 4)}\n" for n in range(200))
    job = trained(service, "forecast", upload(service, "series", content.encode(), target="level"), tbptt_steps=5)
    metrics = job["best"]["metrics"]
    assert metrics["rmse"] < 2 < metrics["persistence_rmse"]
    (found,) = predictions(service, job, [[1, 110], [2, 120], [3, 130], [0, 100], [1, 110]])
    assert found["values"] == [pytest.approx(120, abs=5)]


def test_numbers_follow_from_sequences(service: Service) -> None:
    rows = [[n % 5, n % 3] for n in range(60)]
    content = lines(*({"inputs": row, "target": [sum(row), -sum(row)]} for row in rows))
    job = trained(service, "regress", upload(service, "sequences", content), max_steps=400)
    (found,) = predictions(service, job, [4, 1])
    assert found["values"] == [pytest.approx(5, abs=0.5), pytest.approx(-5, abs=0.5)]


def test_label_is_written_out(service: Service) -> None:
    content = lines(*({"text": "up" if n % 2 else "down", "label": n % 2} for n in range(60)))
    job = trained(service, "generate", upload(service, "labelled", content))
    found = predictions(service, job, "0", "1", temperature=0)
    assert [one["sequences"][0]["text"] for one in found] == ["down", "up"]


def test_source_is_translated(service: Service) -> None:
    content = "source\ttarget\n" + "".join(f"{word}\t{word.upper()[::-1][:1]}\n" for word in WORDS * 8)
    job = trained(service, "translate", upload(service, "pairs", content.encode()))
    assert job["best"]["metrics"]["sequence_error_rate"] == 0
    (found,) = predictions(service, job, "abab", beam_width=3)
    assert found["sequences"][0]["text"] == "B"
    assert found["sequences"][0]["score"] == max(one["score"] for one in found["sequences"])
    assert len(found["sequences"]) == 3


@pytest.mark.parametrize(
    ("inputs", "param", "told"),
    [
        (["ab", "az"], "inputs[1]", "'z' at place 1 is not among the 2 of the training part"),
        ([[1, 2]], "inputs[0]", "must be a string or a list of strings"),
        ([""], "inputs[0]", "has 0 symbols"),
        ([], "inputs", "at least 1"),
    ],
)
def test_input_that_is_none_names_its_place(
    classifier: dict[str, Any], service: Service, inputs: list[Any], param: str, told: str
) -> None:
    answer = service.api.post("/v1/predict", json={"model": classifier["id"], "inputs": inputs})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["param"] == param
    assert told in answer.json()["error"]["message"]


def test_each_kind_of_model_answers_at_its_own_door(classifier: dict[str, Any], service: Service, text: str) -> None:
    answer = service.api.post("/v1/completions", json={"model": classifier["id"], "prompt": "ab"})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].endswith("is a classify and continues no text; ask POST /v1/predict")
    writer = service.ended(service.submit(service.upload(text), train={"max_steps": 5})["id"])
    answer = service.api.post("/v1/predict", json={"model": writer["id"], "inputs": ["ab"]})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "this model is a language_model; ask POST /v1/completions"


def test_job_whose_task_cannot_read_its_data_is_refused(service: Service, text: str) -> None:
    answer = service.api.post("/v1/jobs", json={"task": "classify", "dataset": service.upload(text)})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "task"
    assert "it reads kind labelled" in answer.json()["error"]["message"]


@pytest.fixture
def classifier(service: Service) -> dict[str, Any]:
    content = lines(*({"text": word, "label": word[-1]} for word in WORDS * 2))
    return trained(service, "classify", upload(service, "labelled", content), max_steps=3)


def test_a_language_model_is_looked_into_and_taken_away(service: Service) -> None:
    text = ("the cat sat on the mat and the dog sat on the log\n" * 60).encode()
    job = trained(service, "language_model", upload(service, "text", text), tbptt_steps=16)
    body = {"model": job["id"], "input": "the cat sat", "lags": 5, "units": [{"layer": 0, "unit": 3}]}
    answer = service.api.post("/v1/inspect", json=body)
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert [one["symbol"] for one in seen["symbols"]] == list("the cat sat")
    assert 0 <= seen["symbols"][10]["surprisal"] < 1
    assert [len(seen["gradient"]["layers"][0][kind]) for kind in ("hidden", "cell")] == [6, 6]
    assert [(one["layer"], one["unit"], len(one["values"])) for one in seen["units"]] == [(0, 3, 11)]
    for change, param in (({"input": "the \u0000"}, "input"), ({"input": "t"}, "input"), ({"input": [1, 2]}, "input")):
        refused = service.api.post("/v1/inspect", json=body | change)
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, param)

    stored = service.api.get(f"/v1/jobs/{job['id']}/checkpoints/200/inspection").json()
    assert stored["tbptt_steps"] == 16
    assert len(stored["window_loss"]["carried"]) == 16
    assert len(stored["symbols"]) == 256
    assert stored["copying"]["copied"][0] > 0.5  # of a text that says the same sixty times

    weights = service.api.get(f"/v1/models/{job['id']}:step-200/export")
    assert hashlib.sha256(weights.content).hexdigest() == job["parameters_sha256"]
    graph = service.api.get(f"/v1/models/{job['id']}/export", params={"format": "onnx"})
    session = onnxruntime.InferenceSession(graph.content, providers=["CPUExecutionProvider"])
    zero = np.zeros((1, 1, 16), np.float32)
    logits = session.run(["logits"], {"ids": np.zeros((1, 3), np.int64), "h": zero, "c": zero})[0]
    assert logits.shape[:2] == (1, 3)
    assert service.api.get(f"/v1/models/{job['id']}/export", params={"format": "pickle"}).status_code == 422
