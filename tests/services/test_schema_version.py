"""Data of one schema version and a program of another: refused, clearly, and nothing is touched."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from api_service import Api
from queue_samples import LEASE_SECONDS, TENANT, add_datasets, contents, submit

from rnncore.errors import LeaseLost, SchemaMismatch
from services.app import create_app
from services.home import redis_of
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.drain import Drains
from services.jobqueue.queue import JobQueue
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings

OTHERS = [
    (str(keys.SCHEMA_VERSION + 1), "run the version of Unroll that wrote them"),
    (str(keys.SCHEMA_VERSION - 1), "run a version of Unroll that brings them up to date"),
]


def test_first_program_leaves_its_version(scripts: RedisScripts) -> None:
    add_datasets(JobQueue(scripts))
    assert scripts.redis.get(keys.SCHEMA) == str(keys.SCHEMA_VERSION)


@pytest.mark.parametrize(("version", "way_out"), OTHERS, ids=["newer data", "older data"])
def test_no_script_touches_data_of_another_version(scripts: RedisScripts, version: str, way_out: str) -> None:
    queue = JobQueue(scripts)
    add_datasets(queue)
    record = submit(queue)
    submit(queue)
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    scripts.redis.set(keys.SCHEMA, version)
    before = contents(scripts)
    for work in (
        lambda: submit(queue),
        lambda: claims.claim(scripts, lease_seconds=LEASE_SECONDS),
        lambda: claims.lose(scripts, held),
        lambda: queue.cancel(TENANT, record.id),
        Drains(scripts).begin,
        Drains(scripts).end,
        queue.ping,
    ):
        with pytest.raises(SchemaMismatch) as caught:
            work()
        assert str(caught.value) == (
            f"the data in Redis have schema version {version}, this program works with {keys.SCHEMA_VERSION}; "
            f"{way_out} (docs/how-to/operations.md, Upgrade)"
        )
    trainer = ClaimedJob(scripts, held, lease_seconds=0.2)
    with pytest.raises(LeaseLost):  # it stops once its lease is over, as one whose Redis is away
        trainer.write(fields={"progress": {"step": 3}})
    assert contents(scripts) == before


@pytest.mark.parametrize("version", [version for version, _ in OTHERS])
def test_public_process_does_not_start_on_them_and_is_not_ready_where_it_runs(api: Api, version: str) -> None:
    api.scripts.redis.set(keys.SCHEMA, version)
    try:
        other = create_app(api.settings)

        async def start() -> None:
            async with other.router.lifespan_context(other):
                pass

        with pytest.raises(SchemaMismatch):
            anyio.run(start)
        ready = api.anonymous.get("/readyz")
        assert ready.status_code == 503
        assert f"have schema version {version}" in ready.json()["checks"]["redis"]
    finally:
        api.scripts.redis.set(keys.SCHEMA, keys.SCHEMA_VERSION)


def test_up_says_at_once_what_is_wrong(tmp_path: Path) -> None:
    settings = Settings(UNROLL_HOME=tmp_path, UNROLL_PORT=0)
    with redis_of(settings) as scripts:
        scripts.redis.set(keys.SCHEMA, "12")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("UNROLL_", "REDIS_", "RAY_"))}
    up = subprocess.run(
        [sys.executable, "-P", "-m", "services.local", "up"],
        env=environment | {"UNROLL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (up.returncode, "the data in Redis have schema version 12" in up.stderr) == (1, True), up.stderr
