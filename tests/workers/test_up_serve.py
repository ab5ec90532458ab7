"""`unroll up --serve`: the sampler as Ray Serve replicas on the cluster that `up` starts."""

from collections.abc import Iterator

import grpc
import psutil
import pytest

from tests.running_service import Service, running, wait_for


@pytest.fixture(scope="module")
def serving() -> Iterator[Service]:
    with running("--serve", UNROLL_SAMPLER_MAX_REPLICAS="1") as service:
        yield service


@pytest.fixture(scope="module")
def model(serving: Service, text: str) -> str:
    """A model that was really trained there."""
    record = serving.ended(serving.submit(serving.upload(text))["id"])
    assert record["state"] == "succeeded"
    return str(record["id"])


def _replica(service: Service) -> psutil.Process | None:
    return next((one for one in service.family() if one.name().startswith("ray::ServeReplica")), None)


def _front(service: Service) -> psutil.Process | None:
    return next((one for one in service.family() if "services.sampling.front" in one.cmdline()), None)


def _answers(service: Service, model: str) -> bool:
    asked = {"model": model, "prompt": "one", "max_tokens": 40, "seed": 3}
    answer = service.api.post("/v1/completions", json=asked)
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == "1"
        return False
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"] == {"prompt_tokens": 3, "completion_tokens": 40, "total_tokens": 43}
    return len(answer.json()["choices"][0]["text"]) == 40


def test_a_replica_writes_with_the_model_of_a_job(serving: Service, model: str) -> None:
    assert _replica(serving) is not None
    assert not [one for one in serving.family() if "services.sampling.app" in one.cmdline()]
    assert _answers(serving, model)


def test_a_killed_replica_and_a_killed_front_come_back(serving: Service, model: str) -> None:
    for find in (_replica, _front):
        found = find(serving)
        assert found is not None
        found.kill()
        found.wait(10)
        wait_for(lambda: _answers(serving, model), 90, lambda: "the sampler to answer again")


def test_no_port_of_a_replica_answers_a_stranger(serving: Service) -> None:
    """It listens for Ray, which has no such service, and for Serve, which asks for the cluster's token."""
    replica = _replica(serving)
    assert replica is not None
    codes = []
    for port in [c.laddr.port for c in replica.net_connections("tcp") if c.status == psutil.CONN_LISTEN]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequestStreaming")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=10)
        codes.append(refused.value.code().name)
    assert sorted(codes) == ["UNAUTHENTICATED", "UNIMPLEMENTED"]


@pytest.mark.timeout(400)
def test_a_killed_cluster_comes_back_with_its_replicas(serving: Service, model: str) -> None:
    for one in serving.family():
        if one.name() in ("raylet", "gcs_server"):
            one.kill()
    wait_for(lambda: _answers(serving, model), 240, lambda: "the sampler to answer again")
