"""One supervised child process: start, restart with growing pauses, stop with all it left. Linux and macOS."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_STEADY_SECONDS = 30.0
_STOP_SECONDS = 20.0
_TAIL_BYTES = 3_000
_PR_SET_PDEATHSIG = 1


class Child:
    """A process meant to live as long as we do. Its output goes to `log_path`; `prepare` runs before each start."""

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        log_path: Path,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._prepare = prepare
        self.name = name
        self.log_path = log_path
        self._command = command
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause = _FIRST_PAUSE_SECONDS
        self._restart_at: float | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the process in a session of its own, so that Ctrl-C reaches us alone."""
        self._prepare()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        self._started_at, self._restart_at = time.monotonic(), None

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def revive(self) -> bool:
        """Starts it again if it has ended, after a pause that grows while it keeps ending; says whether it did."""
        if not self.has_ended():
            return False
        now = time.monotonic()
        if self._restart_at is None:
            if now - self._started_at > _STEADY_SECONDS:
                self._pause = _FIRST_PAUSE_SECONDS
            self._restart_at = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        if now < self._restart_at:
            return False
        self.start()
        return True

    def stop(self) -> None:
        """Asks it to end, insists after a while, and returns when none of its descendants is left either."""
        if self._process is None:
            return
        family = _family(self._process.pid)
        if not self.has_ended():
            self._process.terminate()
        _, stubborn = psutil.wait_procs(family, timeout=_STOP_SECONDS)
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=_STOP_SECONDS)
        self._process.wait()
        # Where it had ended before us, nobody could tell any more whose children are left; its session still can.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def log_tail(self) -> str:
        """The end of what it printed."""
        return self.log_path.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")


def _family(pid: int) -> list[psutil.Process]:
    """The process and all it started, those that moved to sessions of their own included."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def die_with_parent() -> None:
    """In a new child: be told to end when the parent is killed, however it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port(host: str) -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
