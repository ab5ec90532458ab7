"""Models and completions: what is asked of the sampler, and how its answer, its silence and its death are told."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_service import Api, FakeSampler, SamplerRequest, Trained

from services.access import sampler_token

Sampling = Callable[[Callable[[SamplerRequest], None]], FakeSampler]
GONE = {"error": {"message": "not there", "type": "invalid_request_error", "param": None, "code": "not_found"}}
CHUNK = 'data: {"choices": [{"text": "a"}]}\n\n'


def complete(api: Api, model: str, **asked: Any) -> httpx.Response:
    return api.client.post("/v1/completions", json={"model": model, **asked})


@contextmanager
def streaming(api: Api, model: str, **asked: Any) -> Iterator[Iterator[str]]:
    """The events of a stream, as they come."""
    body = {"model": model, "stream": True, **asked}
    with api.client.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer)


def events(answer: httpx.Response) -> Iterator[str]:
    rest = ""
    for piece in answer.iter_text():
        *whole, rest = (rest + piece).split("\n\n")
        yield from (event.removeprefix("data: ") for event in whole)
    assert rest == ""


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def whole(answer: dict[str, Any]) -> Callable[[SamplerRequest], None]:
    return lambda request: request.whole(200, answer)


def test_best_latest_and_numbered_checkpoints_answer_under_their_names(api: Api, trained: Trained) -> None:
    api.submit()
    job = api.claim()
    best = api.publish(job, trained, 4)
    api.publish(job, trained, 8, validation_loss=2.0)
    job.write(fields={"best": {"step": 4, "validation_loss": 1.5}})
    name = job.claim.job
    for model, step in ((name, 4), (f"{name}:best", 4), (f"{name}:latest", 8), (f"{name}:step-8", 8)):
        found = api.client.get(f"/v1/models/{model}").json()
        assert (found["id"], found["object"], found["job"], found["step"]) == (model, "model", name, step)
    assert found["parameters_sha256"] == best.parameters_sha256


@pytest.mark.parametrize("suffix", [":step-5", ":step-", ":newest", ":latest:latest", "x", "/../secret"])
def test_model_of_no_such_name_is_404(api: Api, model: str, suffix: str) -> None:
    assert api.client.get(f"/v1/models/{model}{suffix}").status_code == 404
    assert error_of(complete(api, model + suffix), 404)["param"] == "model"


def test_job_without_a_checkpoint_is_no_model_yet(api: Api) -> None:
    job = api.submit()["id"]
    error = error_of(api.client.get(f"/v1/models/{job}"), 404)
    assert error["message"] == f"{job} has published no checkpoint yet; ask again when it has"


def finished_models(api: Api, trained: Trained, number: int) -> list[str]:
    """Jobs that succeeded, newest first."""
    dataset = api.upload()["id"]
    for step in range(1, number + 1):
        api.submit(dataset)
        job = api.claim()
        api.publish(job, trained, step)
        api.publish(job, trained, step + 100)
        job.finish("succeeded")
    return [job["id"] for job in api.client.get("/v1/jobs").json()["data"]]


def test_plain_list_holds_the_best_of_finished_jobs_to_the_end(api: Api, trained: Trained) -> None:
    jobs = finished_models(api, trained, 3)
    api.submit()
    api.publish(api.claim(), trained, 9)
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = api.client.get("/v1/models", params={"limit": 2, **after}).json()
        seen += [model["id"] for model in page["data"]]
    assert seen == jobs
    assert api.client.get("/v1/models", params={"after": seen[-1]}).json()["data"] == []


def test_list_with_checkpoints_holds_each_of_them_once(api: Api, trained: Trained) -> None:
    jobs = finished_models(api, trained, 3)
    api.submit()
    running = api.claim()
    api.publish(running, trained, 9)
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = api.client.get("/v1/models", params={"checkpoints": "true", "limit": 1, **after}).json()
        seen += [model["id"] for model in page["data"]]
    steps = {job: 3 - number for number, job in enumerate(jobs)}
    assert seen == [
        f"{running.claim.job}:step-9",
        *(f"{job}:step-{step}" for job in jobs for step in (steps[job] + 100, steps[job])),
    ]


def test_sampler_gets_the_request_the_checkpoint_and_our_token(
    api: Api, model: str, trained: Trained, fake_sampler: Sampling
) -> None:
    sampler = fake_sampler(whole({"object": "text_completion"}))
    answer = complete(api, model, prompt="the", max_tokens=5, temperature=0, stop=["."], seed=3)
    assert (answer.status_code, answer.json()) == (200, {"object": "text_completion"})
    (command,) = sampler.asked
    assert command["checkpoint"] == api.queue.checkpoints(api.tenant, model)[0].path
    assert command["parameters"] == trained.manifest.parameters_sha256
    assert (command["tenant"], command["key"]) == (api.tenant, "first")
    assert {k: command["request"][k] for k in ("model", "prompt", "max_tokens", "temperature", "stop", "seed")} == {
        "model": model,
        "prompt": "the",
        "max_tokens": 5,
        "temperature": 0,
        "stop": ["."],
        "seed": 3,
    }
    assert sampler.headers[0]["authorization"] == f"Bearer {sampler_token(api.settings.secret)}"


@pytest.mark.parametrize(
    ("asked", "param", "told"),
    [
        ({"max_tokens": 10**9}, "max_tokens", "16384"),
        ({"max_tokens": -1}, "max_tokens", "0"),
        ({"prompt": "\ud800"}, "prompt", ""),
        ({"prompt": "x" * 100_001}, "prompt", "100000"),
        ({"temperature": 11}, "temperature", "10"),
        ({"top_p": 0}, "top_p", "0"),
        ({"top_k": 0}, "top_k", "1"),
        ({"n": 17}, "n", "16"),
        ({"seed": -1}, "seed", "0"),
        ({"nonsense": 1}, "nonsense", "not permitted"),
        ({"stream_options": {"x": 1}}, "stream_options.x", "not permitted"),
    ],
)
def test_bad_field_is_named_before_the_sampler_is_asked(
    api: Api, model: str, fake_sampler: Sampling, asked: dict[str, Any], param: str, told: str
) -> None:
    sampler = fake_sampler(whole({}))
    raw = json.dumps({"model": model, **asked})
    answer = api.client.post("/v1/completions", content=raw, headers={"content-type": "application/json"})
    error = error_of(answer, 422)
    assert error["param"] == param
    assert told in error["message"]
    assert sampler.asked == []


@pytest.mark.parametrize("stream", [False, True])
def test_sampler_that_is_down_is_503_with_the_time_to_try_again(api: Api, model: str, stream: bool) -> None:
    answer = complete(api, model, stream=stream)
    error = error_of(answer, 503)
    assert (error["type"], error["code"]) == ("server_error", "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_readiness_tells_about_the_sampler_but_does_not_hang_on_it(api: Api, fake_sampler: Sampling) -> None:
    down = api.anonymous.get("/readyz")
    assert down.status_code == 200
    assert down.json()["checks"]["redis"] == "ok"
    assert down.json()["checks"]["sampler"].startswith("the sampler does not answer (")
    fake_sampler(whole({}))
    assert api.anonymous.get("/readyz").json()["checks"] == {"redis": "ok", "sampler": "ok"}


@pytest.mark.parametrize("stream", [False, True])
def test_refusal_of_the_sampler_is_passed_on(api: Api, model: str, fake_sampler: Sampling, stream: bool) -> None:
    envelope = {"error": {"message": "no Z", "type": "invalid_request_error", "param": "prompt", "code": "c"}}
    fake_sampler(lambda request: request.whole(422, envelope))
    answer = complete(api, model, stream=stream)
    assert (answer.status_code, answer.json()) == (422, envelope)


def test_overloaded_sampler_is_503_with_the_time_to_try_again(api: Api, model: str, fake_sampler: Sampling) -> None:
    envelope = {"error": {"message": "full", "type": "server_error", "param": None, "code": "overloaded"}}
    fake_sampler(lambda request: request.whole(503, envelope))
    answer = complete(api, model)
    assert error_of(answer, 503) == envelope["error"]
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("body", [b"Internal Server Error", b"<html>", b'{"detail": "x"}', b"[]"])
@pytest.mark.parametrize("status", [500, 502])
def test_failure_of_the_sampler_is_the_envelope_and_no_detail(
    api: Api, model: str, fake_sampler: Sampling, status: int, body: bytes
) -> None:
    kind = "application/json" if body[:1] in b"{[" else "text/plain"
    fake_sampler(lambda request: request.whole(status, body, kind))
    assert error_of(complete(api, model), 503)["code"] == "unavailable"


def test_stream_passes_through_as_it_comes_and_ends_with_done(api: Api, model: str, fake_sampler: Sampling) -> None:
    read = threading.Event()

    def answer(request: SamplerRequest) -> None:
        request.begin_stream()
        request.chunk('data: {"first": 1}\n\n')
        assert read.wait(20)
        request.chunk('data: {"second": 2}\n\ndata: [DONE]\n\n')
        request.end_stream()

    fake_sampler(answer)
    with streaming(api, model) as stream:
        assert next(stream) == '{"first": 1}'
        read.set()
        assert list(stream) == ['{"second": 2}', "[DONE]"]


def test_sampler_that_dies_in_mid_stream_ends_it_with_an_error_event(
    api: Api, model: str, fake_sampler: Sampling
) -> None:
    def answer(request: SamplerRequest) -> None:
        request.begin_stream()
        request.chunk(CHUNK)  # and nothing that says the stream is whole

    fake_sampler(answer)
    with streaming(api, model) as stream:
        first, last = stream
    assert json.loads(first) == {"choices": [{"text": "a"}]}
    error = json.loads(last)["error"]
    assert (error["type"], error["param"], error["code"]) == ("server_error", None, "unavailable")


@pytest.mark.parametrize("is_writing", [True, False], ids=["while text comes", "while nothing comes"])
def test_client_that_leaves_closes_the_upstream_within_a_second(
    api: Api, model: str, fake_sampler: Sampling, is_writing: bool
) -> None:
    left = threading.Event()

    def answer(request: SamplerRequest) -> None:
        request.begin_stream()
        request.chunk(CHUNK)
        try:
            while is_writing:
                request.chunk(CHUNK)
            request.connection.recv(1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        left.set()

    fake_sampler(answer)
    with streaming(api, model) as stream:
        next(stream)
        assert not left.is_set()
        # Leaving the block hangs up.
    assert left.wait(1)


@pytest.mark.usefixtures("sampler")
def test_real_sampler_continues_a_prompt(api: Api, model: str, trained: Trained) -> None:
    answer = complete(api, model, prompt="the cat", max_tokens=9, temperature=0)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    text = body["choices"][0]["text"]
    assert len(text) == 9
    assert set(text) <= set(trained.manifest.encoding.vocabulary.symbols)
    assert body == {
        "id": body["id"],
        "object": "text_completion",
        "created": body["created"],
        "model": model,
        "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": "length"}],
        "system_fingerprint": f"fp_{trained.manifest.parameters_sha256[:16]}",
        "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16},
    }


@pytest.mark.usefixtures("sampler")
def test_real_stream_spells_the_same_text_and_counts_at_its_end(api: Api, model: str) -> None:
    asked = {"prompt": "the cat", "max_tokens": 9, "seed": 5}
    text = complete(api, model, **asked).json()["choices"][0]["text"]
    with streaming(api, model, stream_options={"include_usage": True}, **asked) as stream:
        *chunks, usage, done = stream
    assert "".join(json.loads(chunk)["choices"][0]["text"] for chunk in chunks) == text
    reasons = [json.loads(chunk)["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["length"]
    assert json.loads(usage)["usage"] == {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
    assert done == "[DONE]"


@pytest.mark.usefixtures("sampler")
@pytest.mark.parametrize("stream", [False, True])
def test_symbol_that_the_model_never_saw_is_named_with_its_offset(api: Api, model: str, stream: bool) -> None:
    error = error_of(complete(api, model, prompt="the Zoo", stream=stream), 422)
    assert error["param"] == "prompt"
    assert error["message"].startswith("symbol 'Z' (U+005A) at offset 4 is not in the vocabulary")


@pytest.mark.usefixtures("sampler")
def test_checkpoint_that_was_altered_is_not_sampled_from(api: Api, model: str) -> None:
    path = api.queue.checkpoints(api.tenant, model)[0].path
    api.storage.put(f"{path}/weights.safetensors", b"other weights")
    error = error_of(complete(api, model), 500)
    assert error["code"] == "corrupt_checkpoint"


def test_successor_answers_where_a_running_job_has_just_dropped_its_checkpoint(
    api: Api, trained: Trained, fake_sampler: Sampling
) -> None:
    """`JOB:latest` follows a running job: between its name and its files a checkpoint may have been superseded."""
    api.submit()
    job = api.claim()
    old = api.publish(job, trained, 4)

    def answer(request: SamplerRequest) -> None:
        if len(sampler.asked) == 1:
            api.publish(job, trained, 8)
            request.whole(404, GONE)
        else:
            request.whole(200, {"object": "text_completion"})

    sampler = fake_sampler(answer)
    assert complete(api, f"{job.claim.job}:latest").status_code == 200
    paths = [command["checkpoint"] for command in sampler.asked]
    assert paths == [old.path, api.queue.checkpoints(api.tenant, job.claim.job)[0].path]


def test_checkpoint_that_has_no_successor_is_404(
    api: Api, model: str, trained: Trained, fake_sampler: Sampling
) -> None:
    sampler = fake_sampler(lambda request: request.whole(404, GONE))
    assert error_of(complete(api, model), 404) == GONE["error"]
    assert len(sampler.asked) == 1


@pytest.mark.usefixtures("sampler")
@pytest.mark.parametrize("stream", [False, True])
def test_client_that_leaves_frees_its_row_within_a_second(
    api: Api, model: str, sampler_socket: Path, until: Callable[..., Any], stream: bool
) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(sampler_socket)), base_url="http://sampler") as sampler:

        def texts_in_work() -> float:
            found = re.findall(r"^unroll_sample_texts{.*} (\S+)$", sampler.get("/metrics").text, re.MULTILINE)
            assert len(found) == 2
            return sum(map(float, found))

        asked = {"model": model, "max_tokens": 16_000, "n": 16, "stream": stream}

        def ask() -> None:
            with suppress(httpx.HTTPError), leaving.stream("POST", "/v1/completions", json=asked) as answer:
                for _ in answer.iter_raw():
                    left.wait()

        with httpx.Client(base_url=api.client.base_url, headers=api.client.headers) as leaving:
            left = threading.Event()
            thread = threading.Thread(target=ask)
            thread.start()
            until(lambda: texts_in_work() == 16)
            for connection in leaving._transport._pool.connections:  # type: ignore[attr-defined]  # hangs up
                connection._connection._network_stream._sock.shutdown(socket.SHUT_RDWR)
            until(lambda: texts_in_work() == 0, 1.0)
            left.set()
            thread.join()
