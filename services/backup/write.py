"""Writes a backup while the service runs, and holds nothing up.

What is deleted meanwhile makes Redis be read again: the backup is of the first moment all of whose files were still
there to be copied. A file that two readings in a row refer to and that is not there is damage of the service itself.
"""

import gzip
import hashlib
import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import IO

import fsspec

from rnncore.errors import Conflict, CorruptCheckpoint, NotFound
from rnncore.manifest import MANIFEST as CHECKPOINT_MANIFEST
from rnncore.manifest import Manifest as CheckpointManifest
from services import layout
from services.backup.archive import HEADER, MANIFEST, REDIS, STORED, Header, Manifest, is_stored_path, secret_check
from services.backup.contents import Contents
from services.jobqueue.dump import Vanished, dump
from services.jobqueue.scripts import RedisScripts
from services.storage import Storage

_ROUNDS = 20
_PAUSE_SECONDS = 0.5
_IN_MEMORY_BYTES = 8 << 20
_COMPRESSION = 1  # weights do not shrink, whatever is tried


def write_backup(
    scripts: RedisScripts, storage: Storage, target: str, *, secret: bytes, secrets: Mapping[str, str]
) -> Manifest:
    """Writes the file or fsspec URL `target`, which appears whole or not at all. `secrets` go in as they are.

    Raises Conflict where `target` is there already, or more is deleted all the time than can be copied.
    """
    files, path = fsspec.core.url_to_fs(target)
    if files.exists(path):
        raise Conflict(f"{target} is there already; name another file, or move that one away")
    folder, slash, name = target.rpartition("/")
    with (
        storage.elsewhere(folder or slash or ".").writing(name) as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_COMPRESSION) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        return _Writer(tar, scripts, storage, secret).write(secrets)


class _Writer:
    def __init__(self, tar: tarfile.TarFile, scripts: RedisScripts, storage: Storage, secret: bytes) -> None:
        self._tar = tar
        self._scripts = scripts
        self._storage = storage
        self._secret = secret
        self._added: dict[str, str] = {}

    def write(self, secrets: Mapping[str, str]) -> Manifest:
        began = time.time()
        header = Header(created_at=began, secret_check=secret_check(self._secret), secrets=dict(secrets))
        self._add(HEADER, header.model_dump_json().encode())
        with SpooledTemporaryFile(_IN_MEMORY_BYTES) as lines:
            contents, names, damaged = self._read_until_whole(lines)
            self._add_file(REDIS, lines, _sha256(lines))
        manifest = Manifest(
            created_at=began,
            jobs=len(contents.jobs),
            datasets=len(contents.datasets),
            checkpoints=len(contents.checkpoints),
            files={name: self._added[name] for name in sorted({*names, REDIS})},
            damaged=damaged,
        ).signed(self._secret)
        self._add(MANIFEST, manifest.model_dump_json().encode())
        return manifest

    def _read_until_whole(self, lines: IO[bytes]) -> tuple[Contents, set[str], dict[str, str]]:
        """What Redis holds, as `lines`; the members it refers to; and what it refers to in vain."""
        missing: dict[str, str] = {}
        for _ in range(_ROUNDS):
            lines.seek(0)
            lines.truncate()
            before = missing
            try:
                contents = self._read_redis(lines)
            except Vanished:
                continue
            names, missing = self._copy(contents)
            if missing.keys() <= before.keys():
                return contents, names, missing
            time.sleep(_PAUSE_SECONDS)
        raise Conflict(
            "files are deleted faster than they can be copied; drain the service first (`unroll drain --wait`), "
            "or back up to something faster"
        )

    def _read_redis(self, lines: IO[bytes]) -> Contents:
        contents = Contents()
        for entry in dump(self._scripts):
            contents.add(entry)
            lines.write(entry.to_line())
        return contents

    def _copy(self, contents: Contents) -> tuple[set[str], dict[str, str]]:
        """Copies what is not in the archive yet. Answers names of members, and what could not be copied with why."""
        names: set[str] = set()
        missing: dict[str, str] = {}
        folders = [
            *((path, self._checkpoint(path)) for path in contents.checkpoints),
            *((path, iter([(path, sha256)])) for path, sha256 in contents.datasets.items()),
            *((layout.job_folder(job), self._histories(job)) for job in contents.jobs),
        ]
        for path, files in folders:
            try:
                names |= {self._copy_file(*file) for file in files}
            except (NotFound, CorruptCheckpoint) as error:
                missing[path] = str(error)
        return names, missing

    def _checkpoint(self, folder: str) -> Iterator[tuple[str, str]]:
        """The files of a checkpoint with the hashes that its manifest has of them."""
        raw = self._storage.get(_checked(f"{folder}/{CHECKPOINT_MANIFEST}"))
        yield f"{folder}/{CHECKPOINT_MANIFEST}", hashlib.sha256(raw).hexdigest()
        for name, sha256 in CheckpointManifest.parse(raw, self._secret).files.items():
            yield f"{folder}/{name}", sha256

    def _histories(self, job: str) -> Iterator[tuple[str, str]]:
        for folder in (layout.metrics(job), layout.logs(job), layout.samples(job)):
            for name in self._storage.list(folder):
                yield f"{folder}/{name}", ""

    def _copy_file(self, path: str, expected: str) -> str:
        """Adds one file of storage, which has the hash `expected` unless that is empty; answers its member's name."""
        name = STORED + _checked(path)
        if name in self._added:
            return name
        with SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
            for piece in self._storage.read_pieces(path):
                copy.write(piece)
            found = _sha256(copy)
            if expected and found != expected:
                raise CorruptCheckpoint(f"{path} is not what was stored there")
            self._add_file(name, copy, found)
        return name

    def _add(self, name: str, content: bytes) -> None:
        self._add_file(name, io.BytesIO(content), hashlib.sha256(content).hexdigest())

    def _add_file(self, name: str, file: IO[bytes], sha256: str) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = file.seek(0, io.SEEK_END), int(time.time()), 0o600
        file.seek(0)
        self._tar.addfile(member, file)
        self._added[name] = sha256


def _checked(path: str) -> str:
    """`path`, which stands in Redis. Raises NotFound where it is none in storage."""
    if not is_stored_path(path):
        raise NotFound(f"{path[:200]!r} is no path in storage")
    return path


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
