"""Blobs behind fsspec: data sets, checkpoint folders, histories. Knows neither jobs' states nor what the bytes mean.

Every file appears whole or not at all: on a local folder under a draft name first, then renamed; elsewhere it is
complete on this machine before it is sent, and an object store shows an object once it has all of it. A folder is
there when its last file is. Whoever reads gets the stored file itself, or a copy on this machine.
"""

import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rnncore.errors import NotFound, StorageFull, Unavailable, UnrollError
from services import layout
from services.local_copies import LocalCopies
from services.settings import Settings

log = logging.getLogger(__name__)

# botocore's own five tries would keep a request waiting for half a minute where the storage is away.
_S3_RETRIES = {"retries": {"total_max_attempts": 2, "mode": "standard"}}


class StoredFile(NamedTuple):
    """One file in storage; `modified_at` in Unix seconds."""

    path: str
    num_bytes: int
    modified_at: float


class Storage:
    """One root of files addressed by relative paths, all of them made by the service itself.

    Every method raises Unavailable where a storage elsewhere does not answer. That needs a `cache` on this machine.
    """

    def __init__(self, url: str, *, cache: Path | None = None, cache_bytes: int = 0, reserve_bytes: int = 0) -> None:
        self.url = url
        self._reserve_bytes = reserve_bytes
        self._fs, root = _filesystem(url)
        self._root: str = root.rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)
        if cache is None and not self._is_local:
            raise ValueError(f"{url} is not on this machine; name a cache folder that is")
        self._copies = LocalCopies(cache or Path(self._root), cache_bytes)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The storage of an installation."""
        return cls(
            settings.storage_url,
            cache=settings.cache_folder,
            cache_bytes=settings.cache_bytes,
            reserve_bytes=settings.reserve_bytes,
        )

    def elsewhere(self, url: str) -> "Storage":
        """Another root, whose files wait to be sent where those of this one do."""
        return Storage(url, cache=self._copies.folder)

    def free_bytes(self) -> int:
        """Left on the disk that files are written to here: the storage's own, or the one on which files wait."""
        folder = self._root if self._is_local else self._copies.folder
        os.makedirs(folder, exist_ok=True)
        return shutil.disk_usage(folder).free

    def check_space(self) -> None:
        """Raises StorageFull where less than the reserve is left on the disk that files are written to here.

        That is the storage's own, or the one on which files wait to be sent. Nothing is known of room elsewhere.
        """
        if not self._reserve_bytes:
            return
        free = self.free_bytes()
        if free < self._reserve_bytes:
            raise StorageFull(
                f"{free >> 20} MB are left on the disk, {self._reserve_bytes >> 20} are kept in reserve; delete ended "
                "jobs or data sets, or make room, and try again"
            )

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """A file that becomes `path` when the block ends well, durable by then, and vanishes otherwise."""
        target = self._at(path)
        if self._is_local:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            draft = Path(f"{target}.{secrets.token_hex(6)}{layout.DRAFT_SUFFIX}")
        else:
            draft = self._copies.draft()
        try:
            with draft.open("wb") as file:
                yield file
                file.flush()
                if self._is_local:
                    os.fsync(file.fileno())
            if self._is_local:
                draft.rename(target)
                _flush_folder(os.path.dirname(target))
            else:
                with self._reaching():
                    self._fs.put_file(str(draft), target)
        finally:
            draft.unlink(missing_ok=True)

    def put(self, path: str, content: bytes) -> None:
        """Writes a whole small file."""
        if self._is_local:
            with self.writing(path) as file:
                file.write(content)
            return
        with self._reaching():
            self._fs.pipe_file(self._at(path), content)

    def get(self, path: str, *, most_bytes: int | None = None) -> bytes:
        """A whole small file, or the beginning of any. Raises NotFound."""
        with self._reaching(path):
            content: bytes = self._fs.cat_file(self._at(path), start=None if most_bytes is None else 0, end=most_bytes)
        return content

    def read_pieces(self, path: str, piece_bytes: int = 4 << 20) -> Iterator[bytes]:
        """The bytes of a file, piece by piece. Raises NotFound, at once."""
        with self._reaching(path):
            file = self._fs.open(self._at(path), "rb", block_size=piece_bytes)
        return self._pieces(path, file, piece_bytes)

    def _pieces(self, path: str, file: BinaryIO, piece_bytes: int) -> Iterator[bytes]:
        with file:
            while True:
                with self._reaching(path):
                    piece = file.read(piece_bytes)
                if not piece:
                    return
                yield piece

    def list(self, folder: str) -> list[str]:
        """Names directly in `folder`, sorted, drafts left out; empty where there is none."""
        try:
            with self._reaching(folder):
                found = self._fs.ls(self._at(folder), detail=False)
        except NotFound:
            return []
        names = (os.path.basename(str(path).rstrip("/")) for path in found)
        return sorted(name for name in names if not name.endswith(layout.DRAFT_SUFFIX))

    def files(self) -> Iterator[StoredFile]:
        """Every file there is, drafts included."""
        try:
            with self._reaching(""):
                found = self._fs.find(self._root, detail=True)
        except NotFound:
            return
        for path, about in found.items():
            modified = about.get("LastModified") or about.get("mtime") or about.get("created")
            modified_at = float(modified) if isinstance(modified, int | float) else modified.timestamp()
            yield StoredFile(str(path)[len(self._root) + 1 :], about["size"], modified_at)

    def publish_folder(self, folder: Path, path: str, *, last: str) -> None:
        """Makes the finished local `folder` appear at `path`, its file `last` after all others, and removes it here.

        Where it fails, `folder` is as it was, and can be published again.
        """
        if self._is_local:
            target = Path(self._at(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
            _flush_folder(target.parent)
            return
        for name in sorted(os.listdir(folder), key=lambda name: (name == last, name)):
            with self._reaching():
                self._fs.put_file(str(folder / name), f"{self._at(path)}/{name}")
        shutil.rmtree(folder)

    def draft_folder(self) -> Path:
        """A new path, not yet existing, from which `publish_folder` can take a folder."""
        if not self._is_local:
            return self._copies.draft()
        parent = Path(self._at(layout.DRAFTS))
        parent.mkdir(parents=True, exist_ok=True)
        return parent / secrets.token_hex(8)

    @contextmanager
    def reading(self, path: str, *names: str) -> Iterator[Path]:
        """`path` on this machine while the block lasts: a file, or a folder with its files `names`. Raises NotFound."""
        if self._is_local:
            found = Path(self._at(path))
            if not found.exists():
                raise NotFound(f"{path} is no longer stored")
            yield found
            return
        wanted = [f"{path}/{name}" for name in names] or [path]
        with self._copies.holding(wanted, self._fetch):
            yield self._copies.folder / path

    def _fetch(self, path: str, target: Path) -> None:
        with self._reaching(path):
            self._fs.get_file(self._at(path), str(target))

    def delete(self, path: str) -> None:
        """Removes a file or a folder; one that is gone already is fine."""
        try:
            with self._reaching(path):
                self._fs.rm(self._at(path), recursive=True)
        except NotFound:
            return

    def discard(self, path: str) -> None:
        """Removes what no record refers to any more; where that fails now, it is left to the garbage collection."""
        try:
            self.delete(path)
        except (Unavailable, OSError) as error:
            log.warning("%s was not deleted, which is left to the garbage collection: %s", path, error)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _reaching(self, path: str | None = None) -> Iterator[None]:
        """Tells what a file system raises as ours: NotFound where `path` is read and is not there, else Unavailable."""
        try:
            yield
        except UnrollError:
            raise
        except Exception as error:  # each file system has exceptions of its own
            if path is not None and isinstance(error, FileNotFoundError):
                raise NotFound(f"{path} is no longer stored") from error
            if self._is_local:
                raise
            log.warning("%s does not answer: %s", self.url, error)  # where it is, is no tenant's affair
            raise Unavailable(f"the storage does not answer ({type(error).__name__}); try again in a moment") from error


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system behind `url`, and the root there. It remembers no listing: others write there too."""
    options: dict[str, Any] = {"use_listings_cache": False}
    if url.startswith("s3") and "config_kwargs" not in fsspec.config.conf.get("s3", {}):
        options["config_kwargs"] = _S3_RETRIES
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise ImportError(f"{url}: {error}; for s3:// install unroll-server[s3]") from error
    return found


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
