"""Backup and restore: one moment of Redis and storage, taken while the service works, put into an empty home."""

import argparse
import os
import shutil
import stat
import time
from pathlib import Path

import pytest
from api_service import Api, Trained
from backup_samples import SIGNED, Home, backup, finished, members
from queue_samples import LEASE_SECONDS, contents

from rnncore.checkpoint import load_checkpoint
from rnncore.errors import LeaseLost
from services import layout, operations
from services.backup.restore import read_header, restore_backup
from services.backup.write import write_backup
from services.home import redis_of
from services.jobqueue import keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.tenants import TenantLimits, Tenants
from services.jobqueue.webhooks import Webhooks
from services.settings import Settings
from services.storage import read_history
from tests.conftest import SECRET

ERROR = {"type": "io_error", "message": "disk", "log_tail": ""}


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
