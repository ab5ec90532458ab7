"""Loaded by every Python process of the service under test: notes what trainers do to storage, and each optimizer step.

The notes are the observer's view of the effects that pass no queue. One file a process, one JSON line a deed:
[moment of the monotonic clock, pid, job, epoch, "step" | "publish" | "delete", path].
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import time
from types import ModuleType
from typing import Any

_DEEDS = {"os.rename": "publish", "os.remove": "delete", "shutil.rmtree": "delete"}
_TRAINER = "workers.trainer"


class _Notes:
    """Appends to a file of this process's own, opened at the first note."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{os.getpid()}.jsonl"
        self._file: int | None = None

    def add(self, deed: str, path: str = "") -> None:
        import structlog  # only trainers come here, and they have it loaded

        about = structlog.contextvars.get_contextvars()
        if "job_id" not in about:
            return
        if self._file is None:
            self._file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        line = json.dumps([time.monotonic(), os.getpid(), about["job_id"], about["epoch"], deed, path])
        os.write(self._file, f"{line}\n".encode())


class _WatchTrainer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Begins to take notes once the trainer's module has been imported."""

    def __init__(self, notes: _Notes) -> None:
        self._notes = notes

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != _TRAINER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            self._real, spec.loader = spec.loader, self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        self._real.exec_module(module)
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(lambda *_: self._notes.add("step"))
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if deed := _DEEDS.get(event):
            path = os.fspath(arguments[1 if deed == "publish" else 0])
            if isinstance(path, str) and "/storage/jobs/" in path and not path.endswith(".draft"):
                self._notes.add(deed, path)


if folder := os.environ.get("UNROLL_TEST_WITNESS"):
    sys.meta_path.insert(0, _WatchTrainer(_Notes(folder)))
