"""`make demo`: the main job end to end in about two minutes, by the very commands a user would type.

Starts the service if none runs on UNROLL_HOME, trains an LSTM on Python's own documentation, lets it write, stops.
"""

import os
import pydoc_data.topics
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from services.processes import die_with_parent, free_port
from services.settings import Settings

_TRAINING_SECONDS = 60


def main() -> None:
    """Exits 0 if the job succeeded and its model wrote a text."""
    settings = Settings()
    environment = dict(os.environ) | {"UNROLL_HOME": str(settings.root)}
    service = _start(settings, environment)
    try:
        code = _show(settings, environment)
    except KeyboardInterrupt:
        code = 130
    finally:
        if service is not None:
            service.send_signal(signal.SIGTERM)
            service.wait()
    if service is not None:
        _say("\nStopped. Start it to stay with: .venv/bin/unroll up")
    sys.exit(code)


def _show(settings: Settings, environment: dict[str, str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "python-documentation.txt"
        text.write_text("".join(pydoc_data.topics.topics.values()), encoding="utf-8")
        _say(f"\nTraining an LSTM on {text.stat().st_size:,} bytes of English for {_TRAINING_SECONDS} s:\n")
        options = ["--name", "demo", "--max-seconds", str(_TRAINING_SECONDS), "--validate-every-steps", "250"]
        submitted = _unroll(["submit", str(text), *options], environment, capture=True)
    job = submitted.split()[0] if submitted else ""
    if not job:
        return 1
    _say(f"$ unroll watch {job}")
    watched = subprocess.run(_command(["watch", job]), env=environment, check=False)
    if watched.returncode:
        return watched.returncode
    _say("\nIts best checkpoint writes, one character at a time:\n")
    _unroll(["sample", job, "--prompt", "The ", "--max-tokens", "500", "--temperature", "0.6"], environment)
    url = (settings.root / "run" / "url").read_text().strip()
    _say(f"\n\nDashboard  {url}/jobs/{job}   (the key to log in with: {settings.root / 'api_key'})")
    _say(f"Metrics    {url}/metrics")
    _say(f"API        {url}/v1   (description: {url}/openapi.json)")
    return 0


def _start(settings: Settings, environment: dict[str, str]) -> "subprocess.Popen[str] | None":
    """The service as a child of ours, up and warm; None if one runs on this home already."""
    environment.setdefault("UNROLL_PORT", str(_port(settings)))
    service = subprocess.Popen(
        _command(["up"]),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )
    _say("$ unroll up")
    assert service.stdout is not None
    assert service.stderr is not None
    for line in service.stdout:
        _say(line.rstrip())
        if "logs  " in line:
            return service
    complaint = service.stderr.read()
    service.wait()
    if "already runs" in complaint:
        _say(complaint.strip())
        return None
    _say(complaint)
    sys.exit(1)


def _port(settings: Settings) -> int:
    """The usual port, or a free one where that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            return free_port(settings.host)
    return settings.port


def _unroll(arguments: list[str], environment: dict[str, str], *, capture: bool = False) -> str:
    _say("$ unroll " + shlex.join(arguments))
    done = subprocess.run(
        _command(arguments), env=environment, check=True, text=True, stdout=subprocess.PIPE if capture else None
    )
    return done.stdout or ""


def _command(arguments: list[str]) -> list[str]:
    return [str(Path(sys.executable).with_name("unroll")), *arguments]


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
