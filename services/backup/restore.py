"""Restores a backup: into a storage and a Redis that hold nothing, all of it or nothing, each hash checked before."""

import gzip
import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO

import fsspec

from rnncore.errors import Conflict, InvalidInput, NotFound, UnrollError
from rnncore.manifest import MANIFEST as CHECKPOINT_MANIFEST
from services.backup.archive import HEADER, MANIFEST, REDIS, STORED, Header, Manifest, is_stored_path
from services.backup.contents import Contents
from services.jobqueue.dump import Entry, clear, is_empty, load, put_back
from services.jobqueue.scripts import RedisScripts
from services.storage import Storage

_LARGEST_HEADER = 1 << 20
_PIECE_BYTES = 1 << 20


def read_header(source: str) -> Header:
    """Whose backup the file or fsspec URL `source` is. Raises NotFound and InvalidInput."""
    with _members(source) as members:
        name, file = next(members, ("", None))
        if name != HEADER or file is None:
            raise InvalidInput(f"{source} is no backup of Unroll")
        header = Header.parse(file.read(_LARGEST_HEADER))
    header.check_version()
    return header


def restore_backup(scripts: RedisScripts, storage: Storage, source: str, *, secret: bytes) -> Manifest:
    """Fills an empty Redis and an empty storage. Jobs that were running wait in the queue again.

    Raises Conflict where something is there already, InvalidInput where a byte of `source` is not what was written, or
    not written under `secret`; then all is empty as before.
    """
    if storage.list("") or not is_empty(scripts):
        raise Conflict(
            "a backup is restored into an empty home, and there is something in its "
            f"{'storage' if storage.list('') else 'Redis'}; stop the service and name a new UNROLL_HOME "
            "(and an empty REDIS_URL and UNROLL_STORAGE, where those are set)"
        )
    restore = _Restore(storage)
    try:
        with TemporaryFile() as lines:
            manifest = restore.unpack(source, lines, secret)
            contents = _contents(lines)
            restore.check(manifest, contents)
            try:
                load(scripts, _entries(lines))
                put_back(scripts, contents.unfinished)
            except BaseException:
                with suppress(UnrollError):
                    clear(scripts)
                raise
    except BaseException:
        restore.undo()
        raise
    return manifest


class _Restore:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._hashes: dict[str, str] = {}

    def unpack(self, source: str, lines: IO[bytes], secret: bytes) -> Manifest:
        """Files into storage, what was in Redis into `lines`; the manifest, if it is signed and each hash is right."""
        with _members(source) as members:
            for name, file in members:
                if name == MANIFEST:
                    manifest = Manifest.parse(file.read())
                    break
                if name == REDIS:
                    self._hashes[name] = _copy(file, lines)
                elif name.startswith(STORED) and is_stored_path(name.removeprefix(STORED)):
                    with self._storage.writing(name.removeprefix(STORED)) as stored:
                        self._hashes[name] = _copy(file, stored)
                elif name != HEADER:
                    raise InvalidInput(f"the backup holds {name[:200]!r}, which is none of its parts")
            else:
                raise InvalidInput(f"{source} ends before its manifest: it was not written to its end, or cut")
        if not manifest.is_signed(secret):
            raise InvalidInput("the backup's manifest was not signed with this installation's secret")
        for name, sha256 in manifest.files.items():
            if self._hashes.get(name) != sha256:
                raise InvalidInput(f"{name} in the backup is not what was written into it")
        return manifest

    def check(self, manifest: Manifest, contents: Contents) -> None:
        """Raises InvalidInput unless all that Redis refers to is there; takes away what it does not refer to."""
        for path in (*contents.datasets, *contents.checkpoints):
            is_there = any(name in manifest.files for name in (STORED + path, f"{STORED}{path}/{CHECKPOINT_MANIFEST}"))
            if not is_there and path not in manifest.damaged:
                raise InvalidInput(f"the backup lacks {path}")
        for name in self._hashes.keys() - manifest.files.keys():
            self._storage.delete(name.removeprefix(STORED))

    def undo(self) -> None:
        """Leaves the storage as it was."""
        for name in self._storage.list(""):
            self._storage.delete(name)


@contextmanager
def _members(source: str) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Names and contents of the members, in order; each has to be read before the next."""
    try:
        with fsspec.open(source, "rb") as raw, tarfile.open(fileobj=raw, mode="r|gz") as tar:
            yield ((member.name, file) for member in tar if (file := tar.extractfile(member)))
    except FileNotFoundError as error:
        raise NotFound(f"there is no {source}") from error
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInput(f"{source} is no whole backup: {error}") from error


def _entries(lines: IO[bytes]) -> Iterator[Entry]:
    lines.seek(0)
    return (Entry(*json.loads(line)) for line in lines)


def _contents(lines: IO[bytes]) -> Contents:
    contents = Contents()
    for entry in _entries(lines):
        contents.add(entry)
    return contents


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copies all; answers its SHA-256."""
    digest = hashlib.sha256()
    while piece := source.read(_PIECE_BYTES):
        digest.update(piece)
        target.write(piece)
    return digest.hexdigest()
