"""What goes wrong, at random moments: each fault hits a running service and, where it can, mends itself."""

import contextlib
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from services.embedded_redis import repair_append_only_files
from services.processes import Child
from tests.chaos.redis_proxy import RedisProxy
from tests.running_service import Service

_SMALL_DISK_BYTES = 1 << 30
_MARKS = {
    "api": "services.app",
    "dispatcher": "workers.dispatcher",
    "trainer": "ray::TrainerProcess",
    "sampler": "services.sampling.app",
    "raylet": "raylet/raylet",
}


class Faults:
    """Injects faults into `service`, whose Redis is `redis` behind `proxy`. `lease_seconds` is the service's."""

    def __init__(
        self,
        service: Service,
        redis: Child,
        data: Path,
        proxy: RedisProxy,
        *,
        lease_seconds: float,
        seed: int,
        clock: Path | None = None,
    ) -> None:
        """`clock` holds what Redis's clock is ahead, in seconds, where libfaketime tells it the time."""
        self._service = service
        self._redis = redis
        self._data = data
        self._proxy = proxy
        self._lease = lease_seconds
        self._random = random.Random(seed)
        self.pauses: list[tuple[int, float, float]] = []
        """Which process stood still, from when to when, by the monotonic clock."""
        self.kinds: dict[str, tuple[int, Callable[[], bool]]] = {
            "kill -9 trainer": (6, lambda: self._kill("trainer")),
            "kill -9 dispatcher": (4, lambda: self._kill("dispatcher")),
            "kill -9 API": (4, lambda: self._kill("api")),
            "kill -9 Redis": (4, self._kill_redis),
            "kill -9 Redis, torn last record": (2, lambda: self._kill_redis(tear=_half_a_record)),
            "kill -9 Redis, random bytes appended": (2, lambda: self._kill_redis(tear=self._random.randbytes(64))),
            "stop trainer past its lease": (4, lambda: self._stop("trainer", 1.5 * self._lease)),
            "stop trainer, within its lease": (3, lambda: self._stop("trainer", 0.4 * self._lease)),
            "stop dispatcher": (2, lambda: self._stop("dispatcher", self._lease)),
            "stop API": (2, lambda: self._stop("api", 1.0)),
            "stop Redis past the lease": (2, self._stop_redis),
            "cut trainers from Redis past the lease": (3, lambda: self._cut("trainer", 1.5 * self._lease)),
            "cut trainers from Redis, within the lease": (3, lambda: self._cut("trainer", 0.4 * self._lease)),
            "cut all from Redis": (2, lambda: self._cut(None, 0.5 * self._lease)),
        }
        if clock is not None:
            self.kinds["clock of Redis an hour ahead"] = (2, lambda: self._jump(clock, 3600))
            self.kinds["clock of Redis an hour back"] = (2, lambda: self._jump(clock, -3600))
        if self._is_small_disk():
            self.kinds["disk full"] = (4, self._fill_disk)

    def one(self) -> tuple[str, bool]:
        """One fault of a random kind; whether it found something to hit."""
        names = list(self.kinds)
        name = self._random.choices(names, [self.kinds[name][0] for name in names])[0]
        return name, self.kinds[name][1]()

    def _processes(self, what: str) -> list[psutil.Process]:
        found = []
        for process in self._service.family():
            with contextlib.suppress(psutil.Error):
                if _MARKS[what] in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _one_of(self, what: str) -> psutil.Process | None:
        found = self._processes(what)
        return self._random.choice(found) if found else None

    def _kill(self, what: str) -> bool:
        process = self._one_of(what)
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        return True

    def _stop(self, what: str, seconds: float) -> bool:
        process = self._one_of(what)
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            stopped_at = time.monotonic()
            time.sleep(seconds)
            process.resume()
            self.pauses.append((process.pid, stopped_at, time.monotonic()))
        return True

    def _stop_redis(self) -> bool:
        process = psutil.Process(self._redis.pid)
        process.suspend()
        time.sleep(1.2 * self._lease)
        process.resume()
        return True

    def _kill_redis(self, tear: bytes = b"") -> bool:
        process = psutil.Process(self._redis.pid)
        process.send_signal(signal.SIGKILL)
        while not self._redis.has_ended():
            time.sleep(0.01)
        if tear:
            newest = max((self._data / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
            with newest.open("ab") as file:
                file.write(tear)
        time.sleep(self._random.uniform(0, 0.5))
        repair_append_only_files(self._data)
        self._redis.start()
        return True

    def _jump(self, clock: Path, seconds: int) -> bool:
        ahead = int(clock.read_text()) + seconds
        if abs(ahead) > 3600:
            return False
        clock.write_text(f"{ahead:+d}")
        return True

    def _is_small_disk(self) -> bool:
        return shutil.disk_usage(self._data).total < _SMALL_DISK_BYTES

    def _fill_disk(self) -> bool:
        """Nothing is left for anybody, Redis included, for a while."""
        ballast = self._data / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        time.sleep(1.5 * self._lease)
        ballast.unlink()
        time.sleep(0.5)
        if self._redis.has_ended():  # it cannot live with what it could not write
            self._redis.start()
        return True

    def _cut(self, what: str | None, seconds: float) -> bool:
        pids = {process.pid for process in self._processes(what)} if what else None
        if pids is not None and not pids:
            return False
        self._proxy.cut(lambda pid: pids is None or pid in pids)
        time.sleep(seconds)
        self._proxy.mend()
        return True


_half_a_record = b"*3\r\n$4\r\nHSET\r\n$12\r\n{unroll}:jo"
