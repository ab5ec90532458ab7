"""`unroll up` on a home of its own, as a user starts it, for tests that need the whole service."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from services.processes import free_port

TINY: dict[str, Any] = {
    "model": {"hidden_size": 24, "embedding_size": 12},
    "train": {"batch_size": 4, "tbptt_steps": 16, "max_steps": 60, "precision": "fp32"},
}

OTHERS = ("UNROLL_", "RAY_ADDRESS", "RAY_AUTH_", "REDIS_")
"""How variables begin that lead to another service."""


class Service:
    """One running service. Use `running`; everything it starts ends with it."""

    def __init__(self, home: Path, *arguments: str, **settings: str) -> None:
        self.home = home
        self.arguments = arguments
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(OTHERS)},
            "UNROLL_HOME": str(home),
            "UNROLL_PORT": str(free_port("127.0.0.1")),
            **settings,
        }
        self.process: subprocess.Popen[str] | None = None
        self.api: httpx.Client

    def start(self) -> None:
        """Starts it and returns when it says that it is up."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.local", "up", *self.arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "  logs  " in line:
                break
        else:
            self.process.wait(60)
            self.process.stdout.close()
            self.process = None
            raise AssertionError("unroll up did not come up:\n" + "".join(said))
        key = (self.home / "api_key").read_text().strip()
        url = (self.home / "run" / "url").read_text().strip()
        self.api = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60)

    def stop(self) -> None:
        """Ends it as Ctrl-C would."""
        if self.process is None:
            return
        self.api.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def kill_everything(self) -> None:
        """kill -9 of the whole tree at once."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.api.close()
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def family(self) -> list[psutil.Process]:
        """Every process of the service."""
        assert self.process is not None
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def upload(self, text: str, **query: str) -> str:
        answer = self.api.post("/v1/datasets", params={"kind": "text", **query}, content=text.encode())
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def submit(self, dataset: str, **fields: Any) -> dict[str, Any]:
        """A tiny job; `model` and `train` add to the tiny ones."""
        spec = {"dataset": dataset} | {k: v for k, v in fields.items() if k not in TINY}
        spec |= {part: {**TINY[part], **fields.get(part, {})} for part in TINY}
        answer = self.api.post("/v1/jobs", json=spec)
        assert answer.status_code == 200, answer.text
        record: dict[str, Any] = answer.json()
        return record

    def job(self, job_id: str) -> dict[str, Any]:
        record: dict[str, Any] = self.api.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        return record

    def events(self, job_id: str) -> list[dict[str, Any]]:
        listed = self.api.get(f"/v1/jobs/{job_id}/events", params={"limit": 1000}).raise_for_status()
        events: list[dict[str, Any]] = listed.json()["data"]
        return events

    def ended(self, job_id: str, seconds: float = 90) -> dict[str, Any]:
        """The record of the job once it has ended."""
        record: dict[str, Any] = wait_for(
            lambda: self._if_ended(job_id), seconds, lambda: f"{job_id} to end: {self.job(job_id)}"
        )
        return record

    def stepped(self, job_id: str, step: int) -> dict[str, Any]:
        """The record of the job once it has come to `step`."""
        found: dict[str, Any] = wait_for(
            lambda: record if (record := self.job(job_id))["progress"]["step"] >= step else None,
            180,
            lambda: f"{job_id} to reach step {step}: {self.job(job_id)}",
        )
        return found

    def _if_ended(self, job_id: str) -> dict[str, Any] | None:
        record = self.job(job_id)
        return record if record["state"] in ("succeeded", "failed", "cancelled") else None


@contextmanager
def running(*arguments: str, **settings: str) -> Iterator[Service]:
    """A service on a new home with a short lease; stopped and removed at the end. `arguments` follow `up`."""
    home = Path(tempfile.mkdtemp(prefix="unroll-test-"))
    service = Service(home, *arguments, UNROLL_LEASE_SECONDS="5", **settings)
    try:
        service.start()
        yield service
    finally:
        service.stop()
        shutil.rmtree(home)


def wait_for(look: Callable[[], Any], seconds: float, what: Callable[[], str]) -> Any:
    """What `look` finds. Who has waited long asks less often, which leaves the cores to the service."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        if found := look():
            return found
        time.sleep(min(0.15, 0.02 + waited / 20))
    raise AssertionError(f"waited {seconds} s for {what()}")
