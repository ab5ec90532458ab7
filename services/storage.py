"""Blobs behind fsspec: data sets, checkpoint folders, histories. Knows neither jobs' states nor what the bytes mean.

Every write appears whole or not at all: under a draft name first, then renamed. On a local folder, reading hands out
the stored file itself; elsewhere a copy on this machine.
"""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rnncore.errors import NotFound, StorageFull


class Storage:
    """One root of files addressed by relative paths, all of them made by the service itself."""

    def __init__(self, url: str, *, reserve_bytes: int = 0) -> None:
        self.url = url
        self._reserve_bytes = reserve_bytes
        self._fs, root = fsspec.core.url_to_fs(url)
        self._root: str = root.rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._cache = Path(tempfile.gettempdir()) / f"unroll-cache-{os.getuid()}"

    def check_space(self) -> None:
        """Raises StorageFull where less than the reserve is left on a local disk. Nothing is known of others."""
        if not self._is_local or not self._reserve_bytes:
            return
        os.makedirs(self._root, exist_ok=True)
        free = shutil.disk_usage(self._root).free
        if free < self._reserve_bytes:
            raise StorageFull(
                f"{free >> 20} MB are left on the disk, {self._reserve_bytes >> 20} are kept in reserve; delete ended "
                "jobs or data sets, or make room, and try again"
            )

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """A file that becomes `path` when the block ends well, durable by then, and vanishes otherwise."""
        target = self._at(path)
        draft = f"{target}.{secrets.token_hex(6)}.draft"
        self._fs.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            with self._fs.open(draft, "wb") as file:
                yield file
                file.flush()
                if self._is_local:
                    os.fsync(file.fileno())
            self._fs.mv(draft, target)
            if self._is_local:
                _flush_folder(os.path.dirname(target))
        except BaseException:
            if self._fs.exists(draft):
                self._fs.rm(draft)
            raise

    def put(self, path: str, content: bytes) -> None:
        """Writes a whole small file."""
        with self.writing(path) as file:
            file.write(content)

    def get(self, path: str) -> bytes:
        """A whole small file. Raises NotFound."""
        try:
            content: bytes = self._fs.cat_file(self._at(path))
        except FileNotFoundError as error:
            raise NotFound(f"{path} is no longer stored") from error
        return content

    def read_pieces(self, path: str, piece_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of a file, piece by piece. Raises NotFound."""
        try:
            with self._fs.open(self._at(path), "rb") as file:
                while piece := file.read(piece_bytes):
                    yield piece
        except FileNotFoundError as error:
            raise NotFound(f"{path} is no longer stored") from error

    def list(self, folder: str) -> list[str]:
        """Names directly in `folder`, sorted, drafts left out; empty where there is none."""
        try:
            found = self._fs.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (os.path.basename(str(path).rstrip("/")) for path in found)
        return sorted(name for name in names if not name.endswith(".draft"))

    def publish_folder(self, folder: Path, path: str) -> None:
        """Makes the finished local `folder` appear at `path` and removes it here."""
        if self._is_local:
            target = Path(self._at(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
            _flush_folder(target.parent)
            return
        self._fs.put(str(folder), self._at(path), recursive=True)
        shutil.rmtree(folder)

    def draft_folder(self) -> Path:
        """A new path, not yet existing, from which `publish_folder` can rename."""
        parent = Path(self._at("drafts")) if self._is_local else self._cache / "drafts"
        parent.mkdir(parents=True, exist_ok=True)
        return parent / secrets.token_hex(8)

    def local_path(self, path: str) -> Path:
        """`path` (file or folder) as a path on this machine. Raises NotFound."""
        if self._is_local:
            found = Path(self._at(path))
            if not found.exists():
                raise NotFound(f"{path} is no longer stored")
            return found
        copy = self._cache / path
        if not copy.exists():
            draft = copy.with_name(f"{copy.name}.{secrets.token_hex(6)}")
            draft.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._fs.get(self._at(path), str(draft), recursive=self._fs.isdir(self._at(path)))
            except FileNotFoundError as error:
                raise NotFound(f"{path} is no longer stored") from error
            draft.rename(copy)
        return copy

    def delete(self, path: str) -> None:
        """Removes a file or a folder; one that is gone already is fine."""
        try:
            self._fs.rm(self._at(path), recursive=True)
        except FileNotFoundError:
            return

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def _flush_folder(path: str | Path) -> None:
    """A renamed file is found again after a power cut only once its folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class History:
    """Append-only rows of one job, kept as a few JSON Lines segments `EPOCH-NUMBER.jsonl` under one folder.

    The open segment is written anew as it grows; a full one is never touched again.
    """

    SEGMENT_ROWS = 2_000

    def __init__(self, storage: Storage, folder: str, epoch: int) -> None:
        self._storage = storage
        self._folder = folder
        self._epoch = epoch
        self._number = 0
        self._rows: list[str] = []
        self._is_dirty = False

    def add(self, row: dict[str, Any]) -> None:
        """Keeps `row` until the next flush."""
        self._rows.append(json.dumps(row))
        self._is_dirty = True

    def flush(self) -> None:
        """Makes all rows added so far readable by everybody."""
        if not self._is_dirty:
            return
        content = "".join(f"{row}\n" for row in self._rows).encode()
        self._storage.put(f"{self._folder}/{self._epoch:08}-{self._number:08}.jsonl", content)
        self._is_dirty = False
        if len(self._rows) >= self.SEGMENT_ROWS:
            self._rows, self._number = [], self._number + 1


def read_history(storage: Storage, folder: str) -> Iterator[dict[str, Any]]:
    """All rows under `folder`, by epoch and order of writing."""
    for name in storage.list(folder):
        try:
            content = storage.get(f"{folder}/{name}")
        except NotFound:
            continue
        yield from (json.loads(line) for line in content.splitlines())


def merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows keyed (epoch, step) as one curve: a later epoch supersedes what came before it from its first step on."""
    curve: list[dict[str, Any]] = []
    for row in rows:
        while curve and curve[-1]["epoch"] < row["epoch"] and curve[-1]["step"] >= row["step"]:
            curve.pop()
        curve.append(row)
    return curve
