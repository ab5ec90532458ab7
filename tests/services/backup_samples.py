"""Backups, what they hold, and an empty service that they are restored into."""

import io
import tarfile
from pathlib import Path
from typing import Any

from api_service import Api, Trained
from queue_samples import LEASE_SECONDS

from services import layout
from services.backup.restore import restore_backup
from services.backup.write import write_backup
from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.dump import is_empty
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.storage import History, Storage
from tests.conftest import SECRET

SIGNED = SECRET.encode()


class Home:
    """Where backups are restored to: an empty Redis and an empty folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.scripts = RedisScripts(url, SIGNED)
        self.scripts.redis.flushall()
        self.queue = JobQueue(self.scripts)
        self.storage = Storage(str(folder / "storage"))
        self.folder = folder

    def restore(self, file: Path, secret: bytes = SIGNED) -> Any:
        return restore_backup(self.scripts, self.storage, str(file), secret=secret)

    def claim(self) -> ClaimedJob:
        held = claims.claim(self.scripts, lease_seconds=LEASE_SECONDS)
        assert held is not None
        return ClaimedJob(self.scripts, held, lease_seconds=LEASE_SECONDS)

    @property
    def is_empty(self) -> bool:
        return is_empty(self.scripts) and not self.storage.list("")


def backup(api: Api, file: Path, storage: Storage | None = None, **secrets: str) -> Any:
    return write_backup(api.scripts, storage or api.storage, str(file), secret=SIGNED, secrets=secrets)


def finished(api: Api, trained: Trained, **changes: Any) -> str:
    """A job that succeeded with one checkpoint and two rows of history."""
    api.submit(**changes)
    job = api.claim()
    api.publish(job, trained, 4)
    for folder in (layout.metrics(job.claim.job), layout.logs(job.claim.job), layout.samples(job.claim.job)):
        history = History(api.storage, folder, job.claim.epoch)
        history.add({"step": 4})
        history.flush()
    job.finish("succeeded", trained.manifest.parameters_sha256)
    return job.claim.job


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def rewritten(file: Path, changed: dict[str, bytes | None]) -> Path:
    """The backup with some of its members changed or (None) left out, or added before its manifest."""
    parts = members(file)
    manifest = parts.pop("manifest.json")
    parts = {**parts, **changed} | {"manifest.json": manifest} | changed
    target = file.with_suffix(".changed")
    with tarfile.open(target, "w:gz") as tar:
        for name, content in parts.items():
            if content is not None:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return target
