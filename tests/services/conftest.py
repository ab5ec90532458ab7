"""A queue on a real Redis that is audited after each test, and the whole public process in front of it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from api_service import Api, FakeSampler, SamplerRequest, Trained, serving
from backup_samples import Home
from openai_sdk import Sdk, sdk_of
from queue_samples import add_datasets, audit

from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.sampling import app as sampling
from services.settings import Settings
from tests.conftest import SECRET


@pytest.fixture
def queue(scripts: RedisScripts) -> Iterator[JobQueue]:
    """A queue with one data set of TENANT. Whatever a test does to it, its invariants hold at the end."""
    queue = JobQueue(scripts)
    add_datasets(queue)
    yield queue
    audit(scripts)


@pytest.fixture(scope="session")
def sampler_socket(short_folder: Path) -> Path:
    """Where the sampler would listen."""
    return short_folder / "sampler.sock"


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, redis_server: Any, sampler_socket: Path) -> Settings:
    """Settings of a service of the tests' own; an upload may have 10,000 bytes."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "given_secret").write_text(SECRET)
    return Settings(
        UNROLL_HOME=folder / "home",
        UNROLL_PORT=0,
        REDIS_URL=redis_server.url,
        UNROLL_SAMPLER_URL=f"unix:{sampler_socket}",
        UNROLL_SECRET_FILE=folder / "given_secret",
        UNROLL_MAX_UPLOAD_BYTES=10_000,
    )


@pytest.fixture(scope="session")
def running_api(settings: Settings, until: Callable[..., Any]) -> Iterator[Api]:
    """The public process; starting it takes too long to do it for each test."""
    with Api(settings).running(until) as api:
        yield api


@pytest.fixture
def api(running_api: Api, scripts: RedisScripts) -> Iterator[Api]:
    """The public process as it is when it has just started: one key, nothing stored. No sampler; audited afterwards."""
    running_api.reset()
    yield running_api
    audit(scripts)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A checkpoint made by really training a tiny network."""
    return Trained(tmp_path_factory.mktemp("trained"), SECRET.encode())


@pytest.fixture
def model(api: Api, trained: Trained) -> str:
    """A model that answers: the job of a checkpoint at step 4, still running."""
    api.submit()
    job = api.claim()
    api.publish(job, trained, 4)
    return job.claim.job


@pytest.fixture
def fake_sampler(sampler_socket: Path) -> Iterator[Callable[[Callable[[SamplerRequest], None]], FakeSampler]]:
    """Starts a sampler that answers as it is told."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(FakeSampler(sampler_socket, answer).running())
    sampler_socket.unlink(missing_ok=True)


@pytest.fixture
def sampler(settings: Settings, sampler_socket: Path, until: Callable[..., Any]) -> Iterator[None]:
    """The real sampler."""
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(sampler_socket))
    with serving(sampling.create_app(settings), bound, until):
        yield
    sampler_socket.unlink(missing_ok=True)


@pytest.fixture(
    params=[(False, True), (False, False), (True, True), (True, False)],
    ids=["sync-strict", "sync", "async-strict", "async"],
)
def sdk(api: Api, request: pytest.FixtureRequest) -> Iterator[Sdk]:
    """OpenAI's own client, in each of its ways."""
    is_async, is_strict = request.param
    with sdk_of(api, is_async=is_async, _strict_response_validation=is_strict) as sdk:
        yield sdk


@pytest.fixture(scope="session")
def second_redis(start_redis: Callable[[], Any]) -> str:
    """Where another Redis is."""
    url: str = start_redis().url
    return url


@pytest.fixture
def home(second_redis: str, tmp_path: Path) -> Iterator[Home]:
    """An empty service; audited afterwards."""
    home = Home(second_redis, tmp_path)
    yield home
    audit(home.scripts)
    home.scripts.close()
