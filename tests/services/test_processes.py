"""A supervised child: it ends with us, it comes back when it ends by itself, and it leaves nobody behind."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.processes import Child, free_port

Until = Callable[..., Any]
GRANDCHILD = (
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
)


@pytest.fixture
def make_child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """A started child that runs a line of Python; all of them end with the test."""
    made: list[Child] = []

    def make(program: str, **environment: str) -> Child:
        command = [sys.executable, "-u", "-c", program]
        child = Child("child", command, dict(os.environ) | environment, tmp_path / f"{len(made)}.log")
        made.append(child)
        child.start()
        return child

    yield make
    for child in made:
        child.stop()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def printed_pid(child: Child, until: Until) -> int:
    return int(until(lambda: child.log_path.read_text().strip()))


def test_child_runs_until_it_is_stopped(make_child: Callable[..., Child]) -> None:
    child = make_child("import time; time.sleep(600)")
    assert not child.has_ended()
    child.stop()
    assert child.has_ended()
    child.stop()


def test_child_runs_in_a_session_of_its_own(make_child: Callable[..., Child]) -> None:
    assert os.getsid(make_child("import time; time.sleep(600)").pid) != os.getsid(0)


def test_child_gets_its_environment_and_its_output_is_kept(make_child: Callable[..., Child], until: Until) -> None:
    child = make_child("import os, sys; print(os.environ['WORD']); print('oops', file=sys.stderr)", WORD="hello")
    until(child.has_ended)
    assert child.log_tail() == "hello\noops\n"


def test_running_child_is_not_started_again(make_child: Callable[..., Child]) -> None:
    child = make_child("import time; time.sleep(600)")
    pid = child.pid
    assert not child.revive()
    assert child.pid == pid


def test_child_that_was_killed_comes_back(make_child: Callable[..., Child], until: Until) -> None:
    child = make_child("import time; time.sleep(600)")
    pid = child.pid
    os.kill(pid, signal.SIGKILL)
    until(child.revive)
    assert not child.has_ended()
    assert child.pid != pid


def test_pause_before_a_child_comes_back_doubles_while_it_keeps_ending(
    make_child: Callable[..., Child], until: Until
) -> None:
    child = make_child("pass")
    pauses = []
    for _ in range(3):
        until(child.has_ended)
        began_at = time.monotonic()
        assert not child.revive()
        until(child.revive)
        pauses.append(time.monotonic() - began_at)
    assert pauses == pytest.approx([0.2, 0.4, 0.8], abs=0.15)


def test_stopping_ends_grandchildren_too(
    make_child: Callable[..., Child], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.processes._STOP_SECONDS", 0.5)  # how long they may take to end by themselves
    child = make_child(f"{GRANDCHILD}; print(p.pid); time.sleep(600)")
    grandchild = printed_pid(child, until)
    assert is_alive(grandchild)
    child.stop()
    assert not is_alive(grandchild)


def test_stopping_ends_grandchildren_of_a_child_that_has_ended_already(
    make_child: Callable[..., Child], until: Until
) -> None:
    child = make_child(f"{GRANDCHILD}; print(p.pid)")
    until(child.has_ended)
    grandchild = printed_pid(child, until)
    assert is_alive(grandchild)
    child.stop()
    until(lambda: not is_alive(grandchild), 5)


def test_child_ends_when_its_parent_is_killed(tmp_path: Path, until: Until) -> None:
    program = f"""
        import os, pathlib, time
        from services.processes import Child
        child = Child("child", [{sys.executable!r}, "-c", "import time; time.sleep(600)"], dict(os.environ),
                      pathlib.Path({str(tmp_path / "log")!r}))
        child.start()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    until(lambda: not is_alive(child), 5)


def test_free_port_can_be_listened_on() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", free_port("127.0.0.1")))
