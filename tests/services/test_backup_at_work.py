"""Backups of a service that goes on working, or has damage: all that is in them is of one moment."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api_service import Api, Trained
from backup_samples import SIGNED, Home, backup, finished, members

from rnncore.checkpoint import load_checkpoint
from services import layout
from services.backup.write import write_backup
from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts
from services.storage import Storage


class Disturbed(Storage):
    """A storage in which something happens when a manifest is read for the first time, or the `at`-th."""

    def __init__(self, url: str, disturb: Callable[[], None], at: int = 1) -> None:
        super().__init__(url)
        self.read: list[str] = []
        self._disturb, self._at_read = disturb, at

    def get(self, path: str) -> bytes:
        if path.endswith("manifest.json"):
            self.read.append(path)
            if len(self.read) == self._at_read:
                self._disturb()
        return super().get(path)


def test_checkpoint_that_is_superseded_while_it_is_copied(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    api.submit()
    job = api.claim()
    old = api.publish(job, trained, 4)

    def supersede() -> None:
        api.publish(job, trained, 5)
        job.write(drop=[4])
        api.storage.delete(old.path)

    manifest = backup(api, tmp_path / "backup", Disturbed(api.storage.url, supersede))
    assert (manifest.checkpoints, manifest.damaged) == (1, {})
    home.restore(tmp_path / "backup")
    (kept,) = home.queue.checkpoints(api.tenant, job.claim.job)
    assert kept.step == 5
    assert home.storage.list(layout.checkpoints(job.claim.job)) == [Path(kept.path).name]


def test_job_that_is_deleted_while_it_is_copied(api: Api, trained: Trained, home: Home, tmp_path: Path) -> None:
    gone, kept = finished(api, trained), finished(api, trained)
    manifest = backup(
        api,
        tmp_path / "backup",
        Disturbed(api.storage.url, lambda: api.client.delete(f"/v1/jobs/{gone}").raise_for_status()),
    )
    assert (manifest.jobs, manifest.damaged) == (1, {})
    home.restore(tmp_path / "backup")
    assert [job.id for job in home.queue.jobs(api.tenant)[0]] == [kept]
    assert home.storage.list("jobs") == [kept]


def test_files_that_were_copied_before_their_job_was_deleted_are_not_restored(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    jobs = {finished(api, trained) for _ in range(3)}

    def delete() -> None:
        for path in storage.read:
            api.client.delete(f"/v1/jobs/{path.split('/')[1]}").raise_for_status()

    storage = Disturbed(api.storage.url, delete, at=2)
    assert backup(api, tmp_path / "backup", storage).jobs == 1
    (kept,) = jobs - {path.split("/")[1] for path in storage.read[:2]}
    copied = {name.split("/")[2] for name in members(tmp_path / "backup") if name.startswith("storage/jobs/")}
    assert (kept in copied, len(copied)) == (True, 2)
    home.restore(tmp_path / "backup")
    assert {file.path.split("/")[1] for file in home.storage.files() if file.path.startswith("jobs/")} == {kept}


class Hurried(RedisScripts):
    """Something happens right after the moment that a backup is of, the first time."""

    def __init__(self, url: str, then: Callable[[], None]) -> None:
        super().__init__(url, SIGNED)
        self._then: Callable[[], None] | None = then

    def run(self, name: str, *arguments: Any) -> Any:
        answer = super().run(name, *arguments)
        if name == "dump" and self._then:
            then, self._then = self._then, None
            then()
        return answer


def hurried_backup(api: Api, file: Path, then: Callable[[], None]) -> Any:
    scripts = Hurried(api.scripts.url, then)
    try:
        return write_backup(scripts, api.storage, str(file), secret=SIGNED, secrets={})
    finally:
        scripts.close()


def test_what_happens_after_the_moment_of_the_backup_is_not_in_it(api: Api, home: Home, tmp_path: Path) -> None:
    running = api.submit()["id"]
    job = api.claim()
    later: list[str] = []

    def go_on() -> None:
        job.finish("succeeded")
        later.append(api.submit()["id"])

    hurried_backup(api, tmp_path / "backup", go_on)
    home.restore(tmp_path / "backup")
    assert [record.id for record in home.queue.jobs(api.tenant)[0]] == [running]
    events = home.queue.events(api.tenant, running, after=None, limit=100)[0]
    assert [event.data["reason"] for event in events] == ["submitted", "claimed", "restored"]
    assert api.queue.job(api.tenant, later[0]).state == "queued"


def test_ended_job_that_is_deleted_before_it_was_read(api: Api, trained: Trained, home: Home, tmp_path: Path) -> None:
    gone, kept = finished(api, trained), finished(api, trained)
    api.client.put("/v1/models/favourite", json={"model": gone}).raise_for_status()

    def delete() -> None:
        api.client.delete("/v1/models/favourite").raise_for_status()
        api.client.delete(f"/v1/jobs/{gone}").raise_for_status()

    manifest = hurried_backup(api, tmp_path / "backup", delete)
    assert (manifest.jobs, manifest.damaged) == (1, {})
    home.restore(tmp_path / "backup")
    assert [record.id for record in home.queue.jobs(api.tenant)[0]] == [kept]


def test_damage_of_the_service_is_told_and_holds_nothing_else_up(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    altered, missing, whole = (finished(api, trained) for _ in range(3))
    paths = {job: api.queue.checkpoints(api.tenant, job)[0].path for job in (altered, missing, whole)}
    (Path(api.storage.url) / paths[altered] / "weights.safetensors").write_bytes(b"rust")
    (Path(api.storage.url) / paths[missing] / "training.safetensors").unlink()
    manifest = backup(api, tmp_path / "backup")
    assert set(manifest.damaged) == {paths[altered], paths[missing]}
    assert "is not what was stored" in manifest.damaged[paths[altered]]
    assert home.restore(tmp_path / "backup").damaged == manifest.damaged
    with home.storage.reading(paths[whole]) as folder:
        assert load_checkpoint(folder, SIGNED).manifest == trained.manifest


def test_path_in_redis_that_leads_out_of_storage_is_not_followed(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    job = finished(api, trained)
    raw = json.loads(api.scripts.redis.hget(keys.checkpoints(job), "4"))
    shutil.copytree(trained.folder, Path(api.storage.url).parent / "private")
    api.scripts.redis.hset(keys.checkpoints(job), "4", json.dumps(raw | {"path": "jobs/../../private"}))
    assert set(backup(api, tmp_path / "backup").damaged) == {"jobs/../../private"}
    assert not [name for name in members(tmp_path / "backup") if "private" in name]
