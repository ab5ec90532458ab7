"""`unroll doctor`: looks for what keeps the service from running here, and says how to mend it."""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from rnncore.errors import SchemaMismatch, Unavailable, UnrollError
from services import layout
from services.embedded_redis import redis_command
from services.jobqueue.audit import audit
from services.jobqueue.drain import Drains
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.snapshot import queue_snapshot
from services.settings import Settings, embedded_url
from services.storage import Storage

_NEEDED_BYTES = 2 << 30


def examine(settings: Settings, say: Callable[[str], None]) -> int:
    """Says each finding; 0 if nothing stands in the way, else 1."""
    looked_at = (_redis(settings), _disk(settings), _storage(settings), _port(settings), _shared_memory())
    findings = [_python(), _packages(), *looked_at]
    for is_well, text in findings:
        say(f"{'ok  ' if is_well else 'FAIL'} {text}")
    return 0 if all(is_well for is_well, _ in findings) else 1


def examine_queue(settings: Settings, say: Callable[[str], None]) -> int:
    """Says which invariants of the queue are broken; 0 if none is. The queue may be at work; nothing is changed."""
    scripts = RedisScripts(settings.redis_url or embedded_url(settings.root), settings.secret)
    try:
        scripts.check_schema()
        jobs, broken, drained = queue_snapshot(scripts).jobs, audit(scripts), Drains(scripts).told()
    except SchemaMismatch as error:
        say(f"FAIL {error}")
        return 1
    except Unavailable as error:
        say(f"FAIL {error}; start the service with `unroll up`, or name its Redis in REDIS_URL")
        return 1
    finally:
        scripts.close()
    for line in broken:
        say(f"FAIL {line}")
    if drained:
        say(f"ok   {drained}")
    counts = ", ".join(f"{count} {state}" for state, count in sorted(jobs.items()) if count) or "no jobs"
    say(f"{'FAIL' if broken else 'ok  '} {counts}; {len(broken)} broken invariants")
    return 1 if broken else 0


def _python() -> tuple[bool, str]:
    is_well = sys.version_info >= (3, 11)
    return is_well, f"Python {sys.version.split()[0]}" + ("" if is_well else "; 3.11 or newer is needed")


def _packages() -> tuple[bool, str]:
    try:
        found = [f"{name} {version(name)}" for name in ("torch", "ray", "pytorch-lightning", "redis", "fastapi")]
    except PackageNotFoundError as error:
        return False, f"{error.name} is not installed; run `make setup`"
    return True, ", ".join(found)


def _redis(settings: Settings) -> tuple[bool, str]:
    if settings.redis_url:
        return True, f"Redis at REDIS_URL ({settings.redis_url.rpartition('@')[2]})"
    try:
        return True, f"embedded Redis: {redis_command()[0]}"
    except FileNotFoundError as error:
        return False, str(error)


def _disk(settings: Settings) -> tuple[bool, str]:
    free = shutil.disk_usage(settings.root).free
    text = f"{free >> 30} GB free at {settings.root}"
    return (
        free >= _NEEDED_BYTES,
        text if free >= _NEEDED_BYTES else f"{text}; at least {_NEEDED_BYTES >> 30} are needed",
    )


def _storage(settings: Settings) -> tuple[bool, str]:
    """Whether a file can be written, read and deleted there."""
    path = f"{layout.DRAFTS}/doctor-{secrets.token_hex(6)}"
    try:
        storage = Storage.of(settings)
        storage.put(path, b"well")
        is_well = storage.get(path) == b"well"
        storage.delete(path)
    except (ImportError, OSError, UnrollError, ValueError) as error:
        return False, f"{error.__cause__ or error}; see UNROLL_STORAGE"
    return is_well, f"storage {settings.storage_url}"


def _port(settings: Settings) -> tuple[bool, str]:
    if (settings.root / "run" / "url").exists():
        return True, f"a service runs: {(settings.root / 'run' / 'url').read_text().strip()}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return False, f"{settings.host}:{settings.port}: {error.strerror}; set UNROLL_PORT to a free port"
    return True, f"{settings.host}:{settings.port} is free"


def _shared_memory() -> tuple[bool, str]:
    if not os.path.isdir("/dev/shm"):
        return True, "no /dev/shm on this system"
    free = shutil.disk_usage("/dev/shm").free
    is_well = free >= 256 << 20
    return is_well, f"{free >> 20} MB shared memory" + ("" if is_well else "; Ray needs 256: in Docker raise shm_size")
