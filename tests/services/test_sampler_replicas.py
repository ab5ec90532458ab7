"""The sampler's replicas on a Ray cluster of three nodes, and the front before them."""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import openai
import pytest
import ray
from api_service import Api, Trained
from prometheus_client.parser import text_string_to_metric_families
from ray.cluster_utils import Cluster

from services.access import sampler_token
from services.processes import Child
from services.sampling.app import create_app
from services.settings import Settings
from services.wire import MAX_TOKENS

REPLICAS = 2
LONG = 6_000
Until = Callable[..., Any]


class Front:
    """The front's process, spoken to as the public process does. In ours, Serve would outlive the cluster."""

    def __init__(self, settings: Settings, cluster: Cluster, socket_path: Path, log_path: Path) -> None:
        self.settings = settings
        self._cluster = cluster
        environment = os.environ | {
            "UNROLL_STORAGE": settings.storage_url,
            "UNROLL_SAMPLER_URL": f"unix:{socket_path}",
            "UNROLL_SAMPLER_MIN_REPLICAS": str(REPLICAS),
            "RAY_ADDRESS": cluster.address,
        }
        command = [sys.executable, "-P", "-m", "services.sampling.front"]
        self.process = Child("front", command, environment, log_path)
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket_path)),
            base_url="http://sampler",
            headers={"authorization": f"Bearer {sampler_token(settings.secret)}"},
            timeout=60,
        )

    def ask(self, checkpoint: str, **asked: Any) -> httpx.Response:
        return self.http.post("/completions", json=command(checkpoint, **asked))

    def samples(self, name: str, **labels: str) -> dict[str, float]:
        """Sum of the samples of that name, of each replica; of those with `labels`, if any."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    found[sample.labels["replica"]] = found.get(sample.labels["replica"], 0.0) + sample.value
        return found

    @property
    def num_writing(self) -> float:
        return sum(self.samples("unroll_sample_texts", state="writing").values())

    @property
    def num_left(self) -> float:
        """Requests whose clients went away."""
        return sum(self.samples("unroll_sample_requests_total", outcome="left").values())

    def owner(self, checkpoint: str) -> str:
        """The replica that answers for `checkpoint`."""
        before = self.samples("unroll_sample_requests_total")
        assert self.ask(checkpoint).status_code == 200
        after = self.samples("unroll_sample_requests_total")
        (owner,) = [name for name, number in after.items() if number > before.get(name, 0.0)]
        return owner

    def pid(self, replica: str) -> int:
        """Its process. Finding it takes seconds: do it before a moment that counts."""
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level=logging.WARNING)
        try:
            (name,) = [
                actor["name"]
                for actor in ray.util.list_named_actors(all_namespaces=True)
                if actor["name"].startswith("SERVE_REPLICA::") and actor["name"].endswith(f"#{replica}")
            ]
            actor = ray.get_actor(name, namespace="serve")
            return int(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))
        finally:
            ray.shutdown()


def command(checkpoint: str, **asked: Any) -> dict[str, Any]:
    request = {"model": "m", "prompt": "the", "max_tokens": 5, **asked}
    return {"request": request, "checkpoint": checkpoint, "parameters": "abc", "tenant": "lab", "key": "k"}


@pytest.fixture(scope="module")
def cluster(settings: Settings) -> Iterator[Cluster]:
    """A head without room, and two nodes with room for one replica each. They find the home where `settings` has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLL_HOME", str(settings.home))
        patch.setenv("UNROLL_SECRET_FILE", str(settings.secret_file))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(REPLICAS):
                cluster.add_node(wait=False, num_cpus=1)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def running_front(
    cluster: Cluster, settings: Settings, sampler_socket: Path, short_folder: Path, until: Until
) -> Iterator[Front]:
    front = Front(settings, cluster, sampler_socket, short_folder / "front.log")
    front.process.start()
    try:
        until(lambda: sampler_socket.exists() or front.process.has_ended(), 120)
        assert not front.process.has_ended(), front.process.log_tail()
        with front.http:
            yield front
    finally:
        front.process.stop()
        sampler_socket.unlink(missing_ok=True)


@pytest.fixture
def front(running_front: Front, until: Until) -> Front:
    """The front with all its replicas there."""
    until(lambda: len(running_front.samples("unroll_sample_texts")) == REPLICAS, 60)
    return running_front


@pytest.fixture
def checkpoints(front: Front, trained: Trained) -> tuple[str, str]:
    """Two models that different replicas answer for."""
    folder = Path(front.settings.storage_url)
    owners: dict[str, str] = {}
    while len(owners) < REPLICAS:
        name = f"checkpoint-{len(list(folder.glob('checkpoint-*')))}"
        shutil.copytree(trained.folder, folder / name)
        owners.setdefault(front.owner(name), name)
    first, second = owners.values()
    return first, second


def plain(settings: Settings, *commands: dict[str, Any]) -> list[str]:
    """What the sampler of one process writes."""

    async def ask() -> list[str]:
        app = create_app(settings)
        headers = {"authorization": f"Bearer {sampler_token(settings.secret)}"}
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sampler", headers=headers) as http,
        ):
            return list(map(text_of, await asyncio.gather(*(http.post("/completions", json=one) for one in commands))))

    return asyncio.run(ask())


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["text"]
    return text


def frames_of(lines: Iterator[str]) -> Iterator[Any]:
    """The events of a stream, decoded."""
    for line in lines:
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def text_in(frames: list[Any]) -> str:
    return "".join(choice["text"] for frame in frames for choice in frame.get("choices", ()))


def test_text_of_a_seed_is_that_of_the_one_process(front: Front, checkpoints: tuple[str, str]) -> None:
    asked = [command(checkpoint, seed=seed, max_tokens=37) for checkpoint in checkpoints for seed in (3, 5)]
    found = [text_of(front.http.post("/completions", json=one)) for one in asked]
    assert found == plain(front.settings, *asked)


def test_refusals_are_those_of_the_one_process(front: Front, checkpoints: tuple[str, str]) -> None:
    unknown, absent = front.ask(checkpoints[0], prompt="Z"), front.ask("nothing")
    broken = front.http.post("/completions", content=b"no JSON", headers={"content-type": "application/json"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (422, "prompt")
    assert (absent.status_code, absent.json()["error"]["code"]) == (404, "not_found")
    assert broken.status_code == 422
    assert front.http.post("/completions", json={}, headers={"authorization": "Bearer wrong"}).status_code == 401


def test_requests_for_one_model_go_to_one_replica(front: Front, checkpoints: tuple[str, str]) -> None:
    owners = {checkpoint: front.owner(checkpoint) for checkpoint in checkpoints}
    before = front.samples("unroll_sample_requests_total")
    with ThreadPoolExecutor(7) as pool:
        answers = list(pool.map(front.ask, [checkpoints[0]] * 13 + [checkpoints[1]] * 11))
    assert [answer.status_code for answer in answers] == [200] * 24
    after = front.samples("unroll_sample_requests_total")
    assert {name: after[name] - before[name] for name in after} == {
        owners[checkpoints[0]]: 13.0,
        owners[checkpoints[1]]: 11.0,
    }


def test_client_that_leaves_a_stream_frees_its_rows(front: Front, checkpoints: tuple[str, str], until: Until) -> None:
    before = front.num_left
    asked = command(checkpoints[0], stream=True, max_tokens=MAX_TOKENS, n=7)
    with front.http.stream("POST", "/completions", json=asked) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        assert front.num_writing == 7
    until(lambda: front.num_left == before + 1, 10)
    assert front.num_writing == 0


def test_client_that_leaves_before_the_answer_frees_its_rows(
    front: Front, checkpoints: tuple[str, str], until: Until
) -> None:
    before = front.num_left
    with pytest.raises(httpx.ReadTimeout):
        front.http.post("/completions", json=command(checkpoints[0], max_tokens=MAX_TOKENS, n=7), timeout=0.2)
    until(lambda: front.num_left == before + 1, 10)
    assert front.num_writing == 0


def test_killed_replica_breaks_its_own_streams_alone(front: Front, checkpoints: tuple[str, str]) -> None:
    theirs, others = checkpoints
    asked = [{"checkpoint": name, "seed": seed, "max_tokens": LONG} for name in checkpoints for seed in (3, 5, 7)]
    victim = front.pid(front.owner(theirs))
    have_begun, is_killed = Barrier(len(asked) + 1), Barrier(len(asked) + 1)

    def read(one: dict[str, Any]) -> list[Any]:
        with front.http.stream("POST", "/completions", json=command(**one, stream=True)) as answer:
            frames = frames_of(answer.iter_lines())
            first = next(frames)
            have_begun.wait()
            is_killed.wait()
            return [first, *frames]

    with ThreadPoolExecutor(len(asked)) as pool:
        streams = pool.map(read, asked)
        have_begun.wait()
        os.kill(victim, signal.SIGKILL)
        is_killed.wait()
        ends = [(text_in(frames), frames[-1]) for frames in streams]
        again = [text_of(answer) for answer in pool.map(lambda one: front.ask(**one), asked)]
    whole = plain(front.settings, *(command(**one) for one in asked))
    assert again == whole
    for one, text, (told, last) in zip(asked, whole, ends, strict=True):
        if one["checkpoint"] == others:
            assert told == text
        else:
            assert text.startswith(told)
            assert len(told) < LONG
            assert last["error"]["code"] == "unavailable"


def test_state_of_a_killed_replica_is_gone_on_from_by_another(front: Front, checkpoints: tuple[str, str]) -> None:
    asked = {"max_tokens": 13, "temperature": 0}
    first = front.ask(checkpoints[0], state=True, **asked).json()["choices"][0]
    os.kill(front.pid(front.owner(checkpoints[0])), signal.SIGKILL)
    second = text_of(front.ask(checkpoints[0], prompt="", state=first["state"], **asked))
    whole = plain(front.settings, command(checkpoints[0], max_tokens=26, temperature=0))
    assert [first["text"] + second] == whole


def test_openai_client_has_its_text_although_the_replica_is_killed(
    front: Front, api: Api, model: str, trained: Trained
) -> None:
    path = front.settings.storage_url
    (checkpoint,) = [str(found.parent.relative_to(path)) for found in Path(path).rglob("manifest.json")]
    owner = front.owner(checkpoint)
    victim = front.pid(owner)
    with openai.OpenAI(api_key=api.key, base_url=f"{api.client.base_url}/v1", max_retries=5) as client:
        with ThreadPoolExecutor(1) as pool:
            asked: dict[str, Any] = {"model": model, "prompt": "the", "seed": 3, "max_tokens": LONG}
            answer = pool.submit(client.completions.create, **asked)
            while not front.samples("unroll_sample_texts", state="writing").get(owner):
                assert not answer.done()
            os.kill(victim, signal.SIGKILL)
            text = answer.result().choices[0].text
        assert text == client.completions.create(**asked).choices[0].text


def test_nobody_waits_in_vain_while_no_replica_runs(front: Front, checkpoints: tuple[str, str], until: Until) -> None:
    for pid in list(map(front.pid, front.samples("unroll_sample_texts"))):
        os.kill(pid, signal.SIGKILL)
    answer = front.ask(checkpoints[0])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "unavailable"
    until(lambda: front.ask(checkpoints[0]).status_code == 200, 60)
    until(lambda: front.http.get("/healthz").status_code == 200, 10)
