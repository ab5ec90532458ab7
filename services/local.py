"""`python -m services.local up|down|doctor|drain|backup|restore|gc`: the service of this machine or of REDIS_URL.

What `up` starts is told in `stack`, what the last four do in `operations`.
"""

import argparse
import os
import signal
import sys
import time

from services import operations
from services.doctor import examine, examine_queue
from services.home import holder, lock
from services.settings import Settings
from services.stack import Stack, StartError

_DOWN_SECONDS = 60


def main() -> None:
    """Runs one command; exits as it says."""
    asked = command_line().parse_args()
    sys.exit(asked.run(Settings(), asked))


def command_line() -> argparse.ArgumentParser:
    """What can be asked; `run` of what is parsed answers an exit code."""
    parser = argparse.ArgumentParser(prog="unroll", description="The service on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up_command = commands.add_parser("up", help="start everything and stay; Ctrl-C stops it")
    up_command.add_argument("--serve", action="store_true", help="run the sampler as Ray Serve replicas")
    up_command.set_defaults(run=lambda settings, asked: up(_served(settings) if asked.serve else settings))
    down_command = commands.add_parser("down", help="stop the service that was started with `up`")
    down_command.set_defaults(run=lambda settings, _: down(settings))
    doctor = commands.add_parser("doctor", help="look for what keeps the service from running here")
    doctor.add_argument("--queue", action="store_true", help="check what lies in Redis instead")
    doctor.set_defaults(run=lambda settings, asked: (examine_queue if asked.queue else examine)(settings, say))
    operations.add_commands(commands, say)
    return parser


def up(settings: Settings) -> int:
    """Starts all, prints where it is, and stays until SIGINT or SIGTERM."""
    with lock(settings.root) as is_ours:
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
    pid = holder(settings.root)
    with lock(settings.root) as was_free:
        if was_free or pid is None:
            say(f"no service runs on {settings.root}")
            return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while time.monotonic() < deadline:
        with lock(settings.root) as is_free:
            if is_free:
                say("stopped")
                return 0
        time.sleep(0.1)
    say(f"process {pid} did not stop within {_DOWN_SECONDS} s; see {settings.root / 'logs'}")
    return 1


def say(text: str) -> None:
    """A message for whoever started us."""
    print(text, file=sys.stderr, flush=True)


def _served(settings: Settings) -> Settings:
    return settings.model_copy(update={"sampler": "serve"})


if __name__ == "__main__":
    main()
