"""A reader who types what a page says, in one shell and one folder, on a running service. Knows no page."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Self

from tests.docs.files import FILES
from tests.docs.pages import Block, Page
from tests.running_service import Service

STEP_SECONDS = 280


class Reader(AbstractContextManager["Reader"]):
    """`follow` runs steps of the page; variables, exports and files stay from one to the next."""

    def __init__(self, page: Page, service: Service, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.left = list(page.steps)
        for name, content in FILES.items():
            if name in page.text:
                (folder / name).write_bytes(content())
        url = (service.home / "run" / "url").read_text().strip()
        programs = Path(sys.executable).parent
        environment = service.environment | {
            "UNROLL_URL": url,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONWARNINGS": "",
        }
        (folder / ".venv").symlink_to(programs.parent)
        self._shell = subprocess.Popen(
            [shutil.which("sh") or "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )

    def follow(self, steps: Iterable[Block] | None = None) -> list[str]:
        """What each step (of the whole page, unless named) printed to stdout. Fails where one fails."""
        return [self._run(step) for step in (self.page.steps if steps is None else steps)]

    def _run(self, step: Block) -> str:
        self.left.remove(step)
        name = f".step-{step.line}"
        (self.folder / f"{name}.{step.language}").write_text(step.text)
        command = {"sh": f". ./{name}.sh", "python": f"python {name}.python"}[step.language]
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"set -eu; {command} </dev/null >{name}.out 2>{name}.err; echo done\n")
        self._shell.stdin.flush()
        watchdog = threading.Timer(STEP_SECONDS, self._end)
        watchdog.start()
        try:
            answer = self._shell.stdout.readline()
        finally:
            watchdog.cancel()
        printed = (self.folder / f"{name}.out").read_text()
        assert answer == "done\n", (
            f"{self.page.name}, line {step.line}, failed:\n{step.text}\n"
            f"--- stdout\n{printed[-2000:]}\n--- stderr\n{(self.folder / f'{name}.err').read_text()[-4000:]}"
        )
        return printed

    def said(self, step: Block) -> str:
        """What a step that was followed told on stderr."""
        return (self.folder / f".step-{step.line}.err").read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._end()
        self._shell.wait()

    def _end(self) -> None:
        """Ends the shell and whatever it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
