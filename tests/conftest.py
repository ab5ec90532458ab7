"""What the tests of all rooms share: a real Redis, started as the service starts its own; waiting with a deadline."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from rnncore.errors import Unavailable
from services.embedded_redis import redis_arguments, redis_command
from services.jobqueue.keys import PREFIX
from services.jobqueue.scripts import RedisScripts
from services.processes import Child
from services.storage import Storage
from tests.s3_server import BUCKET, S3Server, s3_server

pytest_plugins = ["tests.service_fixtures"]
# Tests run side by side, and each may have a service of its own: as if that had one core, its trainers take one thread.
os.environ["RAY_OVERRIDE_RESOURCES"] = '{"CPU": 1}'
# Until a process says how it logs, structlog draws each exception with the locals of every frame: half a minute of work
# for one of the API's.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

SECRET = "a secret of the tests"
_LOOK_SECONDS = 0.005


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of `condition`; fails the test if there is none within `seconds`."""
    began = time.monotonic()
    while not (found := condition()):
        if (waited := time.monotonic() - began) > seconds:
            pytest.fail(f"still not so after {seconds} s: {condition}")
        time.sleep(min(0.05, _LOOK_SECONDS + waited / 100))
    return found


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """`until(condition, seconds)`, see wait_until."""
    return wait_until


class RedisServer:
    """A Redis on a unix socket, with the very command and arguments of the embedded one."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder / 'redis.sock'}"
        data = folder / "data"
        data.mkdir()
        command = [*redis_command(), *redis_arguments(folder / "redis.sock", data)]
        self.process = Child("redis", command, dict(os.environ), folder / "redis.log")

    def start(self) -> None:
        """Returns when it answers."""
        self.process.start()
        scripts = RedisScripts(self.url)
        wait_until(lambda: self._answers(scripts), 30)
        scripts.close()

    def _answers(self, scripts: RedisScripts) -> bool:
        assert not self.process.has_ended(), self.process.log_tail()
        try:
            with scripts.faults():
                return bool(scripts.redis.ping())
        except Unavailable:
            return False


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for the names of sockets."""
    folder = Path(tempfile.mkdtemp(prefix="unroll-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def start_redis(short_folder: Path) -> Iterator[Callable[[], RedisServer]]:
    """Starts one more Redis; all of them end with the session."""
    started: list[RedisServer] = []

    def start() -> RedisServer:
        folder = short_folder / f"redis-{len(started)}"
        folder.mkdir()
        server = RedisServer(folder)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.process.stop()


@pytest.fixture(scope="session")
def redis_server(start_redis: Callable[[], RedisServer]) -> RedisServer:
    """The Redis that most tests share."""
    return start_redis()


@pytest.fixture
def scripts(redis_server: RedisServer) -> Iterator[RedisScripts]:
    """The queue's scripts on an empty Redis. Afterwards every key must bear the queue's prefix."""
    scripts = RedisScripts(redis_server.url, SECRET.encode())
    scripts.redis.flushall()
    yield scripts
    strangers = [key for key in scripts.redis.keys("*") if not key.startswith(PREFIX)]
    scripts.redis.flushall()  # a service that starts now, for a later test, finds nothing of another version
    scripts.close()
    assert strangers == []


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 in a process of its own."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def on_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty storage on S3."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return Storage(f"s3://{BUCKET}/{secrets.token_hex(4)}", cache=tmp_path / "cache", cache_bytes=1000)


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of each kind."""
    if request.param == "local":
        return Storage(str(tmp_path / "stored"))
    found: Storage = request.getfixturevalue("on_s3")
    return found
