"""Backup and restore: one moment of Redis and storage, taken while the service works, put into an empty home."""

import argparse
import io
import json
import os
import shutil
import stat
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_service import TEXT, Api, Trained
from queue_samples import LEASE_SECONDS, contents

from rnncore.checkpoint import load_checkpoint
from rnncore.errors import Conflict, InvalidInput, LeaseLost, NotFound
from services import layout, operations
from services.backup.archive import HEADER, REDIS, STORED
from services.backup.restore import read_header, restore_backup
from services.backup.write import write_backup
from services.home import redis_of
from services.jobqueue import claims, keys
from services.jobqueue.audit import violations
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.dump import is_empty
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits, Tenants
from services.jobqueue.webhooks import Webhooks
from services.settings import Settings
from services.storage import History, Storage, read_history
from tests.conftest import SECRET

SIGNED = SECRET.encode()
ERROR = {"type": "io_error", "message": "disk", "log_tail": ""}


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


@pytest.fixture(scope="module")
def second_redis(start_redis: Callable[[], Any]) -> str:
    url: str = start_redis().url
    return url


@pytest.fixture
def home(second_redis: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(second_redis, tmp_path)
    yield home
    assert violations(home.scripts) == []
    home.scripts.close()


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


def test_restored_service_holds_what_the_old_one_held(api: Api, trained: Trained, home: Home, tmp_path: Path) -> None:
    done = finished(api, trained, name="done")
    api.client.put("/v1/models/favourite", json={"model": f"{done}:step-4"})
    api.client.put("/v1/tenants/default", json={"max_running": 5, "weight": 2.5})
    key = api.client.post("/v1/keys", json={"name": "ü", "requests_per_minute": 60}).json()["key"]
    webhook = Webhooks(api.scripts).create(api.tenant, "https://example.org/hook")
    submitted = api.client.post(
        "/v1/jobs", json={"dataset": api.upload()["id"]}, headers={"Idempotency-Key": "once"}
    ).json()
    api.client.post(f"/v1/jobs/{submitted['id']}/pause")
    told = api.submit(priority=9)
    api.client.post(f"/v1/jobs/{told['id']}/cancel")  # and its webhook is still to hear of it
    api.submit(priority=8)
    api.claim().fail(ERROR, retriable=True)
    api.submit(metadata={"note": '"quoted" \x7f ☃'})
    before = contents(api.scripts)

    manifest = backup(api, tmp_path / "backup.tar.gz")
    assert (manifest.jobs, manifest.datasets, manifest.checkpoints, manifest.damaged) == (5, 1, 1, {})
    home.restore(tmp_path / "backup.tar.gz")

    after = contents(home.scripts)
    passing = {key for key in before if key.split(":", 2)[1].split(":")[0] in ("bell", "claim", "rate", "try")}
    unfinished = {f"{keys.PREFIX}job:{job.id}" for job in api.queue.jobs(api.tenant)[0] if not job.finished_at}
    assert len(unfinished) == 3
    for name in unfinished:  # nothing but who may write is different
        assert int(after[name].pop("epoch")) == int(before[name].pop("epoch")) + 1000
        assert "token" not in after[name]
        before[name].pop("token", None)
    assert after == {name: value for name, value in before.items() if name not in passing}
    for name, value in after.items():
        assert abs(home.scripts.redis.pttl(name) - api.scripts.redis.pttl(name)) < 5000, name
        if isinstance(value, list) and name.startswith(keys.events("")):
            about = [scripts.redis.xinfo_stream(name) for scripts in (home.scripts, api.scripts)]
            assert about[0]["entries-added"] == about[1]["entries-added"]
    stored = {str(path.relative_to(home.storage.url)) for path in Path(home.storage.url).rglob("*") if path.is_file()}
    assert stored == set(api.stored())
    (checkpoint,) = home.queue.checkpoints(api.tenant, done)
    with home.storage.reading(checkpoint.path) as folder:
        assert load_checkpoint(folder, SIGNED).manifest == trained.manifest
    assert list(read_history(home.storage, layout.metrics(done))) == [{"step": 4}]
    assert [delivery.job for delivery in Webhooks(home.scripts).due()] == [told["id"]], "what had been sent is not"
    assert webhook == Webhooks(home.scripts).get(api.tenant, webhook.id)
    assert Tenants(home.scripts).get("default").weight == 2.5
    assert key.encode() not in (tmp_path / "backup.tar.gz").read_bytes()


def test_running_job_waits_in_the_queue_and_its_trainer_is_believed_no_more(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    submitted = api.submit()["id"]
    job = api.claim()
    api.publish(job, trained, 4)
    api.scripts.redis.hincrby(keys.job(submitted), "counted_at", -1_000_000)  # as if the backup were old
    backup(api, tmp_path / "backup")
    home.restore(tmp_path / "backup")
    record = home.queue.job(api.tenant, submitted)
    assert (record.state, record.attempt, record.epoch) == ("queued", 1, 1001)
    events = home.queue.events(api.tenant, submitted, after=None, limit=100)[0]
    assert events[-1].data["reason"] == "restored"
    zombie = ClaimedJob(home.scripts, job.claim, lease_seconds=LEASE_SECONDS)
    with pytest.raises(LeaseLost):
        zombie.write(fields={"progress": {"step": 5}})
    again = home.claim()
    assert (again.claim.job, again.claim.epoch, again.claim.attempt) == (submitted, 1002, 2)
    with pytest.raises(LeaseLost):
        zombie.finish("succeeded")
    assert again.published_steps() == {4}
    assert int(home.scripts.redis.hget(keys.job(submitted), "worker_ms")) < 100_000, "nobody worked since"
    job.finish("succeeded")  # and the old service was not disturbed


@pytest.mark.parametrize(("asked", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_what_a_running_job_was_asked_for_is_done(api: Api, home: Home, tmp_path: Path, asked: str, state: str) -> None:
    job = api.submit()["id"]
    api.claim()
    api.client.post(f"/v1/jobs/{job}/{asked}")
    backup(api, tmp_path / "backup")
    home.restore(tmp_path / "backup")
    assert home.queue.job(api.tenant, job).state == state


def test_same_submission_after_the_restore_makes_no_second_job(api: Api, home: Home, tmp_path: Path) -> None:
    dataset = api.upload()["id"]
    asked = {"json": {"dataset": dataset}, "headers": {"Idempotency-Key": "once"}}
    job = api.client.post("/v1/jobs", **asked).json()["id"]
    spec = api.queue.job(api.tenant, job).asked()
    backup(api, tmp_path / "backup")
    home.restore(tmp_path / "backup")
    assert home.queue.submit(api.tenant, spec, idempotency_key="once").id == job


class Disturbed(Storage):
    """A storage in which something happens when a file of a checkpoint is read for the first time."""

    def __init__(self, url: str, disturb: Callable[[], None]) -> None:
        super().__init__(url)
        self._disturb: Callable[[], None] | None = disturb

    def get(self, path: str) -> bytes:
        if self._disturb and path.endswith("manifest.json"):
            self._disturb()
            self._disturb = None
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


def test_backup_that_was_touched_is_refused_and_leaves_nothing(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    job = finished(api, trained)
    file = tmp_path / "backup"
    backup(api, file)
    parts = members(file)
    weights = f"{STORED}{api.queue.checkpoints(api.tenant, job)[0].path}/weights.safetensors"
    flipped = parts[weights][:-1] + bytes([parts[weights][-1] ^ 1])
    redis = parts[REDIS].replace(job.encode(), b"job-" + b"0" * 16)
    other = json.loads(parts["manifest.json"]) | {"jobs": 2}
    header = json.loads(parts[HEADER]) | {"schema_version": keys.SCHEMA_VERSION + 1}
    for changed, message in (
        ({weights: flipped}, "is not what was written into it"),
        ({weights: None}, "is not what was written into it"),
        ({REDIS: redis}, "redis.jsonl in the backup is not what"),
        ({"manifest.json": json.dumps(other).encode()}, "not signed with this installation's secret"),
        ({"manifest.json": None}, "ends before its manifest"),
        ({"storage/../../outside": b"x"}, "is none of its parts"),
        ({"/etc/outside": b"x"}, "is none of its parts"),
    ):
        with pytest.raises(InvalidInput, match=message):
            home.restore(rewritten(file, changed))
        assert home.is_empty
        assert not (home.folder.parent / "outside").exists()
    short = tmp_path / "short"
    short.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InvalidInput, match="is no whole backup"):
        home.restore(short)
    with pytest.raises(InvalidInput, match="not signed with this installation's secret"):
        home.restore(file, secret=b"another")
    with pytest.raises(InvalidInput, match=f"schema version {keys.SCHEMA_VERSION + 1}, this program reads"):
        read_header(str(rewritten(file, {HEADER: json.dumps(header).encode()})))
    (tmp_path / "text").write_text(TEXT)
    with pytest.raises(InvalidInput, match="is no whole backup"):
        read_header(str(tmp_path / "text"))
    with pytest.raises(NotFound):
        read_header(str(tmp_path / "nothing"))
    assert home.is_empty
    home.restore(file)


def test_nothing_is_written_over(api: Api, trained: Trained, home: Home, tmp_path: Path) -> None:
    finished(api, trained)
    file = tmp_path / "backup"
    backup(api, file)
    with pytest.raises(Conflict, match="is there already"):
        backup(api, file)
    home.storage.put("jobs/x", b"")
    with pytest.raises(Conflict, match="something in its storage"):
        home.restore(file)
    home.storage.delete("jobs")
    home.scripts.redis.hset(keys.LIMITS, "default", TenantLimits().model_dump_json())
    with pytest.raises(Conflict, match="something in its Redis"):
        home.restore(file)
    home.scripts.redis.delete(keys.LIMITS)
    home.restore(file)


def test_secrets_are_in_it_where_they_were_asked_for_alone(api: Api, tmp_path: Path) -> None:
    backup(api, tmp_path / "plain")
    backup(api, tmp_path / "private", secret=SECRET)
    assert read_header(str(tmp_path / "private")).secrets == {"secret": SECRET}
    assert not [name for name, content in members(tmp_path / "plain").items() if SIGNED in content]


def test_backup_to_a_url(api: Api, trained: Trained, home: Home) -> None:
    finished(api, trained)
    url = f"memory://backups/{time.time_ns()}.tar.gz"
    manifest = write_backup(api.scripts, api.storage, url, secret=SIGNED, secrets={})
    assert restore_backup(home.scripts, home.storage, url, secret=SIGNED) == manifest


def operate(home: Path, *words: str) -> tuple[int, str]:
    """`unroll WORDS` on a home with an embedded Redis that does not run: exit code, and what was said."""
    said: list[str] = []
    parser = argparse.ArgumentParser()
    operations.add_commands(parser.add_subparsers(), said.append)
    asked = parser.parse_args(words)
    mask = os.umask(0o022)
    try:
        return asked.run(Settings(UNROLL_HOME=home), asked), "\n".join(said)
    finally:
        os.umask(mask)


def test_commands_find_the_secret_or_say_where_it_belongs(tmp_path: Path) -> None:
    old, *homes = (tmp_path / name for name in ("old", "with", "without", "other", "given"))
    settings = Settings(UNROLL_HOME=old)
    with redis_of(settings, settings.secret) as scripts:
        Tenants(scripts).put("default", TenantLimits(max_running=3))
    (old / "api_key").write_text("unroll-first")
    plain, private = str(tmp_path / "plain"), str(tmp_path / "private")
    code, said = operate(old, "backup", plain)
    assert (code, f"keep {old / 'secret'} as well" in said) == (0, True), said
    assert operate(old, "backup", private, "--with-secrets")[0] == 0
    assert stat.S_IMODE(Path(private).stat().st_mode) == 0o600

    code, said = operate(homes[0], "restore", private)
    assert (code, said.endswith("0 jobs, 0 data sets, 0 checkpoints")) == (0, True), said
    for name in ("secret", "api_key"):
        assert (homes[0] / name).read_bytes() == (old / name).read_bytes()
        assert stat.S_IMODE((homes[0] / name).stat().st_mode) == 0o600
    code, said = operate(homes[1], "restore", plain)
    assert (code, f"copy the old home's file `secret` to {homes[1] / 'secret'}" in said) == (1, True), said
    assert not (homes[1] / "secret").exists()
    homes[2].mkdir()
    (homes[2] / "secret").write_text("another")
    code, said = operate(homes[2], "restore", private)
    assert (code, "is not the secret that the backup was made under" in said) == (1, True), said
    assert not (homes[2] / "api_key").exists()
    homes[3].mkdir()
    shutil.copy(old / "secret", homes[3] / "secret")
    assert operate(homes[3], "restore", plain)[0] == 0
    with redis_of(Settings(UNROLL_HOME=homes[3])) as scripts:
        assert Tenants(scripts).get("default").max_running == 3
    code, said = operate(homes[3], "restore", private)
    assert (code, "something in its Redis" in said) == (1, True), said
    assert not (homes[3] / "api_key").exists(), "nothing of a restore that was refused stays"
    assert operate(homes[3], "restore", str(tmp_path / "nothing"))[0] == 5
