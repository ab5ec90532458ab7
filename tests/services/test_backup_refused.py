"""Backups that are not restored, and homes that none is restored into: they stay as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
from api_service import TEXT, Api, Trained
from backup_samples import SIGNED, Home, backup, finished, members, rewritten

from rnncore.errors import Conflict, InvalidInput, NotFound, Unavailable
from services import layout
from services.backup.archive import FORMAT, HEADER, REDIS, STORED, Header, Manifest, is_stored_path
from services.backup.contents import Contents
from services.backup.restore import read_header, restore_backup
from services.jobqueue import keys
from services.jobqueue.dump import Entry
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import TenantLimits


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


def test_backup_that_lacks_what_its_records_name_is_refused(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    job = finished(api, trained)
    backup(api, tmp_path / "backup")
    path = api.queue.checkpoints(api.tenant, job)[0].path
    parts = members(tmp_path / "backup")
    left_out = {name for name in parts if path in name}
    manifest = Manifest.parse(parts["manifest.json"])
    files = {name: sha256 for name, sha256 in manifest.files.items() if name not in left_out}
    signed = manifest.model_copy(update={"files": files}).signed(SIGNED).model_dump_json().encode()
    changed: dict[str, bytes | None] = dict.fromkeys(left_out)
    with pytest.raises(InvalidInput, match=f"the backup lacks {path}"):
        home.restore(rewritten(tmp_path / "backup", changed | {"manifest.json": signed}))
    assert home.is_empty


class Broken(RedisScripts):
    """Fails where the first job is put back."""

    def run(self, name: str, *arguments: Any) -> Any:
        if name == "restored":
            raise Unavailable("Redis is away")
        return super().run(name, *arguments)


def test_restore_that_fails_in_the_middle_leaves_nothing(
    api: Api, trained: Trained, home: Home, tmp_path: Path
) -> None:
    finished(api, trained)
    api.submit()
    backup(api, tmp_path / "backup")
    broken = Broken(home.scripts.url, SIGNED)
    with pytest.raises(Unavailable):
        restore_backup(broken, home.storage, str(tmp_path / "backup"), secret=SIGNED)
    broken.close()
    assert home.is_empty


def test_record_of_a_job_that_lacks_its_state_is_no_unfinished_one() -> None:
    contents = Contents()
    contents.add(Entry("job:job-1", "hash", 0, ["name", "x"]))
    assert (contents.jobs, contents.unfinished) == (["job-1"], [])


@pytest.mark.parametrize(
    "path",
    [
        "jobs",
        "jobs/",
        "jobs//x",
        "jobs/x/",
        "jobs/./x",
        "jobs/../x",
        "jobs/x/..",
        "other/x",
        "/jobs/x",
        "jobs/a\0b",
        "",
    ],
)
def test_path_that_the_service_does_not_make_is_none_of_storage(path: str) -> None:
    assert not is_stored_path(path)


def test_paths_that_the_service_makes_are_of_storage() -> None:
    paths = (
        layout.dataset_blob("tenant", "nonce"),
        layout.checkpoint("job-1", 1, 4),
        f"{layout.logs('job-1')}/x.jsonl",
    )
    assert [path for path in paths if not is_stored_path(path)] == []


@pytest.mark.parametrize(
    "changes",
    [{"format": FORMAT + 1}, {"schema_version": keys.SCHEMA_VERSION + 1}, {"schema_version": keys.SCHEMA_VERSION - 1}],
)
def test_backup_of_another_version_is_refused(changes: dict[str, int]) -> None:
    header = Header(created_at=1.0, secret_check="0" * 64)
    header.check_version()
    with pytest.raises(InvalidInput, match="restore it with the version of Unroll that made it, then upgrade"):
        header.model_copy(update=changes).check_version()
