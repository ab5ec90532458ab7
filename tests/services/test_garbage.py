"""What no record refers to goes, what one refers to stays, whatever happens meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from queue_samples import DATASET, LEASE_SECONDS, TENANT, VALIDATION, make_checkpoint, make_dataset, submit

from rnncore.errors import Conflict
from services import layout
from services.garbage import GRACE_SECONDS, collect
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.sweeps import Sweeps
from services.retention import trim
from services.storage import Storage, StoredFile

NO_GRACE = -100.0
"""As if all that is stored were older than the grace."""


def claimed(scripts: RedisScripts) -> ClaimedJob:
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    return ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)


def write(storage: Storage, held: ClaimedJob, step: int) -> str:
    """The files of a checkpoint that nobody knows of yet."""
    path = layout.checkpoint(held.claim.job, held.claim.epoch, step)
    for name in ("weights", "manifest"):
        storage.put(f"{path}/{name}", bytes(7))
    return path


def publish(held: ClaimedJob, step: int, path: str) -> None:
    held.write(publish=[make_checkpoint(held.claim, step).model_copy(update={"path": path, "num_bytes": 14})])


def finish(held: ClaimedJob) -> None:
    held.finish("succeeded", "0" * 64)


def paths(storage: Storage) -> set[str]:
    return {file.path for file in storage.files()} - {layout.OWNER}


@pytest.fixture
def stored_dataset(queue: JobQueue, storage: Storage) -> str:
    """The blob of a data set with a record."""
    blob = layout.dataset_blob(TENANT, "nonce")
    storage.put(blob, b"12345")
    queue.datasets.put(make_dataset(VALIDATION), blob)
    return blob


def test_what_records_refer_to_stays_and_all_else_goes(
    queue: JobQueue, scripts: RedisScripts, storage: Storage, stored_dataset: str
) -> None:
    needed, unneeded = {stored_dataset}, set()
    submit(queue)
    held = claimed(scripts)
    kept, dropped = write(storage, held, 4), write(storage, held, 2)
    publish(held, 4, kept)
    needed |= {f"{kept}/weights", f"{kept}/manifest"}
    unneeded |= {f"{dropped}/weights", f"{dropped}/manifest"}
    for folder in (layout.metrics(held.claim.job), layout.logs(held.claim.job), layout.samples(held.claim.job)):
        storage.put(f"{folder}/00000001-00000000.jsonl", b"{}")
        needed.add(f"{folder}/00000001-00000000.jsonl")
    finish(held)
    unneeded |= {layout.dataset_blob(TENANT, "of-no-record"), f"{layout.metrics('job-gone')}/1-1.jsonl"}
    unneeded |= {f"{layout.checkpoint('job-gone', 1, 2)}/weights", "drafts/abc/weights"}
    unneeded |= {f"{layout.logs(held.claim.job)}/1-1.jsonl.abc.draft"}
    strange = {"notes.txt", "jobs/read-me"}
    for path in (unneeded | strange) - paths(storage):
        storage.put(path, b"123")
    listed = collect(scripts, storage, grace_seconds=NO_GRACE, is_rehearsal=True)
    assert paths(storage) == needed | unneeded | strange
    found = collect(scripts, storage, grace_seconds=NO_GRACE)
    assert paths(storage) == needed | strange
    assert listed == found
    assert sum(size.num_files for size in found) == len(unneeded)
    assert sum(size.num_bytes for size in found) == 2 * 7 + 3 * (len(unneeded) - 2)
    assert collect(scripts, storage, grace_seconds=NO_GRACE) == []


def test_what_a_job_and_a_data_set_had_goes_with_their_records(
    queue: JobQueue, scripts: RedisScripts, storage: Storage, stored_dataset: str
) -> None:
    job = submit(queue).id
    held = claimed(scripts)
    publish(held, 4, write(storage, held, 4))
    finish(held)
    queue.delete_job(TENANT, job)
    assert queue.datasets.delete(TENANT, VALIDATION) == stored_dataset
    collect(scripts, storage, grace_seconds=NO_GRACE)
    assert paths(storage) == set()


def test_nothing_young_goes(queue: JobQueue, scripts: RedisScripts, storage: Storage) -> None:
    blob = layout.dataset_blob(TENANT, "being-uploaded")
    storage.put(blob, b"12345")
    assert collect(scripts, storage) == []
    assert paths(storage) == {blob}
    assert GRACE_SECONDS >= 3600


def test_trainer_may_take_longer_than_the_grace_while_the_job_is_its_own(
    queue: JobQueue, scripts: RedisScripts, storage: Storage
) -> None:
    submit(queue)
    first = claimed(scripts)
    claims.lose(scripts, first.claim)
    second = claimed(scripts)
    left, coming = write(storage, first, 4), write(storage, second, 4)
    collect(scripts, storage, grace_seconds=NO_GRACE)
    assert paths(storage) == {f"{coming}/weights", f"{coming}/manifest"}
    assert left != coming


class Meanwhile(Storage):
    """A storage in which something happens just after its files were listed."""

    happens: Callable[[], None] = staticmethod(lambda: None)

    def files(self) -> Iterator[StoredFile]:
        yield from list(super().files())
        self.happens()


def test_what_is_published_while_it_collects_stays(queue: JobQueue, scripts: RedisScripts, tmp_path: Path) -> None:
    storage = Meanwhile(str(tmp_path))
    submit(queue)
    held = claimed(scripts)
    listed = write(storage, held, 4)
    blob = layout.dataset_blob(TENANT, "nonce")
    storage.put(blob, b"12345")

    def publish_all() -> None:
        queue.datasets.put(make_dataset(VALIDATION), blob)
        for step, path in ((4, listed), (8, write(storage, held, 8))):
            publish(held, step, path)
        finish(held)

    storage.happens = publish_all
    assert collect(scripts, storage, grace_seconds=NO_GRACE) == []
    storage.happens = lambda: None
    assert [checkpoint.step for checkpoint in queue.checkpoints(TENANT, held.claim.job)] == [8, 4]
    assert len(paths(storage)) == 5


def test_storage_of_another_queue_is_left_alone(queue: JobQueue, scripts: RedisScripts, storage: Storage) -> None:
    collect(scripts, storage)
    blob = layout.dataset_blob(TENANT, "of-the-other")
    storage.put(blob, b"12345")
    scripts.redis.delete(keys.INSTALLATION)
    with pytest.raises(Conflict, match="belongs to another queue than REDIS_URL names, so nothing was deleted"):
        collect(scripts, storage, grace_seconds=NO_GRACE)
    assert paths(storage) == {blob}
    storage.delete(layout.OWNER)
    collect(scripts, storage, grace_seconds=NO_GRACE)
    assert paths(storage) == set()
    assert queue.datasets.get(TENANT, DATASET)


class Unaware(JobQueue):
    """Has not heard of an alias when it is asked what is needed."""

    def sources(self) -> set[str]:
        return set()


def test_old_job_that_is_named_while_it_is_trimmed_keeps_its_files(
    queue: JobQueue, scripts: RedisScripts, storage: Storage
) -> None:
    submit(queue)
    held = claimed(scripts)
    path = write(storage, held, 4)
    publish(held, 4, path)
    finish(held)
    queue.aliases.put(TENANT, "favourite", f"{held.claim.job}:step-4")
    assert trim(Unaware(scripts), Sweeps(scripts), storage, -1) == 0
    assert storage.list(path) == ["manifest", "weights"]
    queue.aliases.delete(TENANT, "favourite")
    assert trim(queue, Sweeps(scripts), storage, -1) == 1
    assert paths(storage) == set()
