"""`python -m services.local up|down|doctor|gc`: this machine's service. What is started is told in `stack`."""

import argparse
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services import garbage
from services.doctor import examine, examine_queue
from services.settings import Settings
from services.stack import Stack, StartError

_DOWN_SECONDS = 60


def main() -> None:
    """The command line; exits 0 or 1."""
    parser = argparse.ArgumentParser(prog="unroll", description="The service on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up_command = commands.add_parser("up", help="start everything and stay; Ctrl-C stops it")
    up_command.add_argument("--serve", action="store_true", help="run the sampler as Ray Serve replicas")
    commands.add_parser("down", help="stop the service that was started with `up`")
    doctor = commands.add_parser("doctor", help="look for what keeps the service from running here")
    doctor.add_argument("--queue", action="store_true", help="check what lies in Redis instead")
    gc_command = commands.add_parser("gc", help="delete from storage what no record refers to")
    gc_command.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    asked = parser.parse_args()
    command, settings = asked.command, Settings()
    if command == "up" and asked.serve:
        settings = settings.model_copy(update={"sampler": "serve"})
    if command == "doctor":
        sys.exit(examine_queue(settings, say) if asked.queue else examine(settings, say))
    if command == "gc":
        sys.exit(garbage.run(settings, say, is_rehearsal=asked.dry_run))
    sys.exit(up(settings) if command == "up" else down(settings))


def up(settings: Settings) -> int:
    """Starts all, prints where it is, and stays until SIGINT or SIGTERM."""
    with _lock(settings.root) as is_ours:
        if not is_ours:
            say(f"a service already runs on {settings.root}; `unroll down` stops it, UNROLL_HOME names another home")
            return 1
        stack = Stack(settings)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: stack.ask_to_stop())
        try:
            stack.start(say)
            print(f"Unroll is up: {stack.url}", flush=True)
            print(f"  dashboard  {stack.url}/", flush=True)
            print(f"  API        {stack.url}/v1  (description: {stack.url}/openapi.json)", flush=True)
            print(f"  metrics    {stack.url}/metrics", flush=True)
            print(f"  API key    {settings.root / 'api_key'}", flush=True)
            print(f"  logs       {stack.log_folder}", flush=True)
            stack.watch(say)
        except KeyboardInterrupt:
            pass
        except (StartError, OSError) as error:
            say(str(error))
            return 1
        finally:
            say("stopping")
            stack.stop()
        return 0


def down(settings: Settings) -> int:
    """Stops the service of this home and waits until it has stopped."""
    lock = settings.root / "run" / "lock"
    try:
        pid = int(lock.read_text())
    except (FileNotFoundError, ValueError):
        pid = None
    with _lock(settings.root) as was_free:
        if was_free or pid is None:
            say(f"no service runs on {settings.root}")
            return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while time.monotonic() < deadline:
        with _lock(settings.root) as is_free:
            if is_free:
                say("stopped")
                return 0
        time.sleep(0.1)
    say(f"process {pid} did not stop within {_DOWN_SECONDS} s; see {settings.root / 'logs'}")
    return 1


def say(text: str) -> None:
    """A message for whoever started us."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _lock(root: Path) -> Iterator[bool]:
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


if __name__ == "__main__":
    main()
