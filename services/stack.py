"""All processes of one installation on one machine: which, in what order, from what environment. `local` runs it."""

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable

import httpx

from rnncore.errors import SchemaMismatch, Unavailable
from services.embedded_redis import redis_launch
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.processes import Child, free_port
from services.settings import Settings, embedded_url, socket_folder

START_SECONDS = 180
_LOOK_SECONDS = 0.1
_OBJECT_STORE_BYTES = 200 << 20  # data and checkpoints travel as paths, not as Ray objects


class StartError(RuntimeError):
    """A process did not come up; the message ends with what it printed."""


class Stack:
    """Redis, Ray, sampler, app and dispatcher, each started once what it needs answers, each restarted if it dies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.root
        self.run_folder = self._home / "run"
        self.log_folder = self._home / "logs"
        for folder in (self.run_folder, self.log_folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._sockets = socket_folder(self._home)
        self._environment = dict(os.environ)
        self._children: list[Child] = []
        self._http = httpx.Client(timeout=2)  # one for all that is asked: to make one costs more than to ask
        self._is_stopping = False
        self.url = ""

    def start(self, say: Callable[[str], None]) -> None:
        """Returns when the service answers and a trainer is warm. Raises StartError, or KeyboardInterrupt if asked."""
        settings = self._settings
        port = settings.port or free_port(settings.host)
        self.url = f"http://{'127.0.0.1' if settings.host in ('0.0.0.0', '::') else settings.host}:{port}"
        metrics_port = settings.dispatcher_metrics_port or free_port("127.0.0.1")
        _ = settings.secret  # made now, before several processes want it at once
        self._environment |= {
            "UNROLL_HOME": str(self._home),
            "UNROLL_PORT": str(port),
            "UNROLL_DISPATCHER_METRICS_PORT": str(metrics_port),
            "PYTHONUNBUFFERED": "1",
        }
        if settings.redis_url is None:
            say("starting Redis")
            self._start_redis()
        if settings.ray_address is None:
            say("starting Ray")
            self._prepare_ray()
        if settings.sampler == "process":
            sampler = self._add("sampler", _python("services.sampling.app"))
        app = self._add("app", _python("services.app"))
        if settings.ray_address is None:
            self._await_ray()
        if settings.sampler == "serve":
            sampler = self._add("sampler", _python("services.sampling.front"))
        dispatcher = self._add("dispatcher", _python("workers.dispatcher"))
        self._wait(app, lambda: '"redis":"ok"' in self._body(f"{self.url}/readyz"))
        self._wait(sampler, lambda: '"sampler":"ok"' in self._body(f"{self.url}/readyz"))
        say("warming a trainer")
        warm = f"http://127.0.0.1:{metrics_port}/metrics"
        self._wait(dispatcher, lambda: _has_warm_trainer(self._body(warm)))
        (self.run_folder / "url").write_text(f"{self.url}\n")

    def watch(self, say: Callable[[str], None]) -> None:
        """Restarts what dies until `ask_to_stop`."""
        while not self._is_stopping:
            for child in self._children:
                if child.revive():
                    say(f"{child.name} ended and was started again; its log: {child.log_path}")
            time.sleep(_LOOK_SECONDS)

    def ask_to_stop(self) -> None:
        """Makes `start` or `watch` return soon. Safe in a signal handler."""
        self._is_stopping = True

    def stop(self) -> None:
        """Ends all, last started first."""
        (self.run_folder / "url").unlink(missing_ok=True)
        self._http.close()
        for child in reversed(self._children):
            child.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _start_redis(self) -> None:
        url = embedded_url(self._home)
        self._environment["REDIS_URL"] = url
        redis = self._add("redis", *redis_launch(self._home))
        scripts = RedisScripts(url)
        self._wait(redis, lambda: _answers(JobQueue(scripts).ping))
        scripts.close()

    def _prepare_ray(self) -> None:
        self._ray_folder = self._sockets / "ray"
        shutil.rmtree(self._ray_folder, ignore_errors=True)
        token = self.run_folder / "ray_token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        port = free_port("127.0.0.1")
        self._environment |= {
            "RAY_ADDRESS": f"127.0.0.1:{port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_worker_niceness": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # nothing outlives the one node
        }
        command = [
            *_python("ray.scripts.scripts"),
            *("start", "--head", "--block", "--disable-usage-stats", "--include-dashboard", "false"),
            *("--no-monitor", "--include-log-monitor", "false"),  # no autoscaler, and nobody reads logs through Ray
            *("--node-ip-address", "127.0.0.1", "--port", str(port)),
            *("--temp-dir", str(self._ray_folder), "--object-store-memory", str(_OBJECT_STORE_BYTES)),
        ]
        self._ray = self._add("ray", command)

    def _await_ray(self) -> None:
        self._wait(self._ray, lambda: b"Ray runtime started" in self._ray.log_path.read_bytes()[-4000:])

    def _add(self, name: str, command: list[str], prepare: Callable[[], object] = lambda: None) -> Child:
        log_path = self.log_folder / f"{name}.log"
        log_path.unlink(missing_ok=True)
        child = Child(name, command, self._environment, log_path, prepare)
        self._children.append(child)
        child.start()
        return child

    def _body(self, url: str) -> str:
        try:
            return self._http.get(url).text
        except httpx.HTTPError:
            return ""

    def _wait(self, child: Child, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if self._is_stopping:
                raise KeyboardInterrupt
            if child.has_ended() or time.monotonic() > deadline:
                raise StartError(f"{child.name} did not start; the end of {child.log_path}:\n{child.log_tail()}")
            time.sleep(_LOOK_SECONDS)


def _python(module: str) -> list[str]:
    # -P: a folder named `services` where somebody happens to stand is not ours.
    return [sys.executable, "-P", "-m", module]


def _has_warm_trainer(metrics: str) -> bool:
    at_work = ('unroll_trainers{state="idle"}', 'unroll_trainers{state="busy"}')
    return any(line.startswith(at_work) and not line.endswith(" 0.0") for line in metrics.splitlines())


def _answers(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except SchemaMismatch as error:
        raise StartError(str(error)) from error
    except Unavailable:
        return False
    return True
