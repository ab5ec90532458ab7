"""What survives: acknowledged work when Redis is killed, running work when its memory is full; and what is refused."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from queue_samples import LEASE_SECONDS, TENANT, add_datasets, audit, contents, make_checkpoint, make_dataset, submit

from rnncore.errors import Overloaded, Unavailable, UnrollError
from services.jobqueue import claims
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.durability import check_durability
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobState
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from tests.conftest import SECRET


def settings(tmp_path: Path, **changes: str) -> Settings:
    return Settings(**{"UNROLL_HOME": str(tmp_path)} | changes)


@contextmanager
def configured(scripts: RedisScripts, name: str, value: str) -> Iterator[None]:
    """A setting of the running Redis, put back afterwards."""
    before = scripts.redis.config_get(name)[name]
    scripts.redis.config_set(name, value)
    try:
        yield
    finally:
        scripts.redis.config_set(name, before)


def test_acknowledged_submits_and_claims_survive_a_kill_of_redis(
    start_redis: Callable[[], Any], until: Callable[..., Any]
) -> None:
    server = start_redis()
    scripts = RedisScripts(server.url)
    queue = JobQueue(scripts)
    add_datasets(queue)
    acknowledged: list[str] = []

    def keep_submitting() -> None:
        try:
            while True:
                acknowledged.append(submit(queue).id)
        except Unavailable:
            return

    threads = [threading.Thread(target=keep_submitting) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) >= 50, 30)
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    os.kill(server.process.pid, signal.SIGKILL)
    until(server.process.has_ended)
    for thread in threads:
        thread.join()
    server.start()
    assert held is not None
    states = {job_id: queue.job(TENANT, job_id).state for job_id in acknowledged}
    assert states == dict.fromkeys(acknowledged, JobState.QUEUED) | {held.job: JobState.RUNNING}
    ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS).finish("succeeded")
    audit(scripts)
    scripts.close()


def test_redis_that_is_away_is_unavailable(short_folder: Path) -> None:
    scripts = RedisScripts(f"unix://{short_folder}/nobody.sock")
    with pytest.raises(Unavailable):
        JobQueue(scripts).ping()
    scripts.close()


def test_submit_to_a_full_redis_is_overloaded_and_keeps_nothing(queue: JobQueue, scripts: RedisScripts) -> None:
    before = contents(scripts)
    with configured(scripts, "maxmemory", "1"):
        with pytest.raises(Overloaded, match="memory is full"):
            submit(queue)
        with pytest.raises(Overloaded):
            queue.datasets.put(make_dataset("ds-" + "c" * 32), "blob")
    assert contents(scripts) == before


def test_beyond_four_fifths_of_the_memory_nothing_new_is_taken_and_what_runs_goes_on(
    queue: JobQueue, scripts: RedisScripts
) -> None:
    submit(queue)
    held = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert held is not None
    running = ClaimedJob(scripts, held, lease_seconds=LEASE_SECONDS)
    used = scripts.redis.info("memory")["used_memory"]
    before = contents(scripts)
    unaware = RedisScripts(scripts.url, SECRET.encode())  # of what was free when the first job came
    nearly_full = JobQueue(unaware)
    with configured(scripts, "maxmemory", str(int(used / 0.85))):
        with pytest.raises(Overloaded, match="beyond 80 % nothing new is taken"):
            submit(nearly_full)
        with pytest.raises(Overloaded, match="beyond 80 %"):
            nearly_full.datasets.put(make_dataset("ds-" + "c" * 32), "blob")
        assert contents(scripts) == before
        running.write(fields={"progress": {"step": 3}})
    with configured(scripts, "maxmemory", str(int(used / 0.7))):
        assert submit(nearly_full).state == JobState.QUEUED
    unaware.close()


def test_running_jobs_go_on_and_end_while_redis_is_full(queue: JobQueue, scripts: RedisScripts) -> None:
    ids = [submit(queue).id for _ in range(5)]
    held = [claims.claim(scripts, lease_seconds=LEASE_SECONDS) for _ in range(4)]
    finished, failed, released, lost = (
        ClaimedJob(scripts, claim, lease_seconds=LEASE_SECONDS) for claim in held if claim
    )
    with configured(scripts, "maxmemory", "1"):
        finished.write(fields={"progress": {"step": 3}}, publish=[make_checkpoint(finished.claim, 3)])
        finished.finish("succeeded", "5" * 64)
        failed.fail({"type": "io_error", "message": "x"}, retriable=True)
        claims.lose(scripts, lost.claim)
        claims.release(scripts, released.claim)
        again = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
        assert again is not None
        assert queue.cancel(TENANT, again.job).cancel_requested
        queue.delete_job(TENANT, finished.claim.job)
    states = [queue.job(TENANT, job_id).state for job_id in ids[1:]]
    assert sorted(states) == ["queued", "queued", "queued", "running"]


@pytest.mark.parametrize(
    ("name", "weak", "needed"),
    [
        ("appendfsync", "everysec", "always"),
        ("appendonly", "no", "yes"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ],
)
def test_redis_that_may_lose_jobs_is_refused_by_the_name_of_its_setting(
    scripts: RedisScripts, tmp_path: Path, name: str, weak: str, needed: str
) -> None:
    with configured(scripts, name, weak):
        with pytest.raises(UnrollError) as caught:
            check_durability(scripts, settings(tmp_path))
        check_durability(scripts, settings(tmp_path, UNROLL_REDIS_DURABILITY="external"))
    assert str(caught.value) == (
        f"Redis has {name}={weak}, which can lose acknowledged jobs; set {name} {needed}, "
        "or UNROLL_REDIS_DURABILITY=external if its durability is looked after elsewhere"
    )


def test_embedded_redis_is_durable(scripts: RedisScripts, tmp_path: Path) -> None:
    check_durability(scripts, settings(tmp_path))


def test_redis_that_forbids_looking_is_let_in(scripts: RedisScripts, tmp_path: Path) -> None:
    scripts.redis.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "+@all", "-config")
    other = RedisScripts(scripts.url.replace("unix://", "unix://plain:word@"))
    try:
        check_durability(other, settings(tmp_path))
    finally:
        other.close()
        scripts.redis.execute_command("ACL", "DELUSER", "plain")
