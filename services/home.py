"""One UNROLL_HOME on one machine: whose it is at present, and its Redis whether the service runs or not."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnncore.errors import SchemaMismatch, Unavailable
from services.embedded_redis import redis_launch
from services.jobqueue.scripts import RedisScripts
from services.processes import Child
from services.settings import Settings, embedded_url

_START_SECONDS = 60
_LOOK_SECONDS = 0.05


@contextmanager
def lock(root: Path) -> Iterator[bool]:
    """Whether this home is ours now. The lock ends with the process, however it ends."""
    folder = root / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


def holder(root: Path) -> int | None:
    """Process id of whoever had the lock last."""
    try:
        return int((root / "run" / "lock").read_text())
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def redis_of(settings: Settings, secret: bytes = b"") -> Iterator[RedisScripts]:
    """The Redis of this installation; an embedded one that does not run is started for as long. Raises Unavailable."""
    if settings.redis_url:
        with _connected(settings.redis_url, secret) as scripts:
            yield scripts
        return
    with lock(settings.root) as is_ours:
        if is_ours:
            with _started(settings.root), _connected(embedded_url(settings.root), secret) as scripts:
                yield scripts
        else:
            with _connected(embedded_url(settings.root), secret) as scripts:
                yield scripts


@contextmanager
def _connected(url: str, secret: bytes) -> Iterator[RedisScripts]:
    scripts = RedisScripts(url, secret)
    try:
        scripts.check_schema()
        yield scripts
    finally:
        scripts.close()


@contextmanager
def _started(root: Path) -> Iterator[None]:
    command, prepare = redis_launch(root)
    (root / "logs").mkdir(mode=0o700, exist_ok=True)
    redis = Child("redis", command, dict(os.environ), root / "logs" / "redis.log", prepare)
    redis.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(embedded_url(root)):
            if redis.has_ended() or time.monotonic() > deadline:
                raise Unavailable(f"Redis did not start; the end of {redis.log_path}:\n{redis.log_tail()}")
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        redis.stop()


def _answers(url: str) -> bool:
    try:
        with _connected(url, b""):
            return True
    except SchemaMismatch:
        return True
    except Unavailable:
        return False
