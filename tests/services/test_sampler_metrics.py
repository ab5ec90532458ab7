"""What the sampler tells of its answers: each once, however it was asked, with times that fit what was seen outside."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_service import Api
from prometheus_client.parser import text_string_to_metric_families

from services.metrics import METRICS

PARTS = ("", "_bucket", "_count", "_sum")


@pytest.fixture
def told(sampler: None, sampler_socket: Path) -> Iterator[Callable[[], dict[str, float]]]:
    """The sampler's series as they are now, labels in the name."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(sampler_socket)), base_url="http://sampler") as client:

        def scrape() -> dict[str, float]:
            families = text_string_to_metric_families(client.get("/metrics").text)
            return {
                " ".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]): sample.value
                for family in families
                for sample in family.samples
            }

        yield scrape


def complete(api: Api, model: str, **asked: Any) -> httpx.Response:
    answer = api.client.post("/v1/completions", json={"model": model, "prompt": "the", "max_tokens": 40, **asked})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("stream", [False, True])
def test_answer_is_counted_and_timed_once_streamed_or_not(
    api: Api, model: str, told: Callable[[], dict[str, float]], stream: bool
) -> None:
    began = time.perf_counter()
    complete(api, model, stream=stream, n=3)
    took = time.perf_counter() - began
    found = told()
    assert found[f"unroll_sample_requests_total outcome=ok stream={str(stream).lower()}"] == 1
    assert found["unroll_sample_tokens_total"] == 120
    assert found["unroll_sample_time_to_first_token_seconds_count"] == 1
    first = found["unroll_sample_time_to_first_token_seconds_sum"]
    assert found["unroll_model_load_seconds_sum"] < first < took  # the model was loaded meanwhile
    assert found["unroll_sample_token_interval_seconds_count"] == 1
    assert 0 < found["unroll_sample_token_interval_seconds_sum"] * 39 <= took - first


def test_texts_side_by_side_are_one_batch(api: Api, model: str, told: Callable[[], dict[str, float]]) -> None:
    complete(api, model, n=5, max_tokens=200)
    found = told()
    turns = found["unroll_sample_batch_size_count"]
    assert turns >= 1
    assert found["unroll_sample_batch_size_sum"] <= 5 * turns
    assert found["unroll_sample_batch_size_bucket le=4.0"] < turns
    assert found["unroll_sample_batch_size_bucket le=8.0"] == turns
    assert (found["unroll_sample_texts state=writing"], found["unroll_sample_texts state=waiting"]) == (0, 0)


def test_model_and_prefix_that_are_there_are_hits(api: Api, model: str, told: Callable[[], dict[str, float]]) -> None:
    for _ in range(2):
        complete(api, model)
    found = told()
    assert (found["unroll_model_cache_misses_total"], found["unroll_model_cache_hits_total"]) == (1, 1)
    assert (found["unroll_model_cache_models"], found["unroll_model_load_seconds_count"]) == (1, 1)
    assert found["unroll_model_cache_bytes"] > 0
    assert (found["unroll_prefix_cache_misses_total"], found["unroll_prefix_cache_hits_total"]) == (1, 1)
    assert found["unroll_prefix_cache_bytes"] > 0


def test_refused_request_has_no_first_symbol(api: Api, model: str, told: Callable[[], dict[str, float]]) -> None:
    answer = api.client.post("/v1/completions", json={"model": model, "prompt": "\u2603", "max_tokens": 3})
    assert answer.status_code == 422
    found = told()
    assert found["unroll_sample_requests_total outcome=refused stream=false"] == 1
    assert found["unroll_sample_time_to_first_token_seconds_count"] == 0


def test_every_series_of_the_sampler_is_declared(api: Api, model: str, told: Callable[[], dict[str, float]]) -> None:
    complete(api, model)
    names = {name.split(" ")[0] for name in told()}
    of_sampler = [metric for metric in METRICS if metric.teller in ("sampler", "each process")]
    of_front_alone = {"unroll_sampler_replicas"}
    expected = {
        metric.name + part for metric in of_sampler for part in (PARTS[1:] if metric.kind == "histogram" else PARTS[:1])
    } - of_front_alone
    assert {name for name in names if name.startswith("unroll_")} == expected
    assert "process_resident_memory_bytes" in names
