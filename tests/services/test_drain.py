"""Drain: nothing is handed out, what runs is given back behind a checkpoint, and everybody can see why."""

import os
import subprocess
import sys

import pytest
from api_service import Api
from queue_samples import LEASE_SECONDS, TENANT, submit

from rnncore.errors import NotFound
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.drain import SERVICE, Drains
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord
from services.jobqueue.scripts import RedisScripts

NODE, OTHER_NODE = "a" * 56, "b" * 56


@pytest.fixture
def drains(scripts: RedisScripts) -> Drains:
    return Drains(scripts)


def hold(scripts: RedisScripts, node: str | None = None, lease_seconds: float = LEASE_SECONDS) -> ClaimedJob:
    """The next job in the hands of a trainer, which has told where it is if `node` is given."""
    claim = claims.claim(scripts, lease_seconds=lease_seconds)
    assert claim is not None
    job = ClaimedJob(scripts, claim, lease_seconds=lease_seconds)
    if node:
        job.write(fields={"placement": {"node": node, "start": "warm", "pid": 7, "device": "cpu", "threads": 1}})
    return job


def is_told_to_stop(job: ClaimedJob) -> bool:
    job.write()
    return job.is_to_suspend


def unroll(scripts: RedisScripts, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "services.local", *arguments]
    environment = os.environ | {"REDIS_URL": scripts.url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def last_state(queue: JobQueue, record: JobRecord) -> tuple[str, str]:
    event = queue.events(TENANT, record.id, after=None, limit=1, newest_first=True)[0][0]
    return event.data["state"], event.data["reason"]


def test_drained_service_hands_nothing_out_and_says_why(queue: JobQueue, scripts: RedisScripts, drains: Drains) -> None:
    ready, failed = submit(queue), submit(queue)
    hold(scripts)
    hold(scripts).fail({"type": "io_error", "message": "disk"}, retriable=True)
    ready = submit(queue)
    drains.begin()
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is None
    for record in (ready, failed):
        place = queue.job(TENANT, record.id).queue
        assert place is not None
        assert (place.reason, place.blocked_by, place.eta_seconds) == ("drained", [], None)
    assert submit(queue).state == "queued", "jobs are accepted all the same"
    drains.end()
    assert hold(scripts).claim.job == ready.id


def test_running_job_goes_back_into_the_queue_and_nothing_counts_against_it(
    queue: JobQueue, scripts: RedisScripts, drains: Drains
) -> None:
    record = submit(queue, max_attempts=1)
    for epoch in range(1, 6):
        job = hold(scripts, NODE)
        assert job.claim.epoch == epoch
        assert not is_told_to_stop(job)
        drains.begin()
        assert is_told_to_stop(job)
        job.suspend()
        assert last_state(queue, record) == ("queued", "drained")
        drains.end()
    fields = scripts.redis.hgetall(keys.job(record.id))
    assert (fields["failures"], fields["worker_losses"]) == ("0", "0")


def test_drain_that_is_ended_in_time_leaves_the_job_running(
    queue: JobQueue, scripts: RedisScripts, drains: Drains
) -> None:
    submit(queue)
    job = hold(scripts)
    drains.begin()
    assert is_told_to_stop(job)
    drains.end()
    assert not is_told_to_stop(job)


def test_job_that_is_to_be_paused_is_paused_by_a_drain(queue: JobQueue, scripts: RedisScripts, drains: Drains) -> None:
    record = submit(queue)
    job = hold(scripts)
    queue.pause(TENANT, record.id)
    drains.begin()
    job.suspend()
    assert queue.job(TENANT, record.id).state == "paused"


def test_lost_job_waits_in_a_drained_queue(queue: JobQueue, scripts: RedisScripts, drains: Drains) -> None:
    record = submit(queue)
    job = hold(scripts)
    drains.begin()
    scripts.redis.zadd(keys.LEASES, {record.id: 1})
    assert drains.at_work() == [], "a lease that has ended is nobody's work"
    assert claims.claim(scripts, lease_seconds=LEASE_SECONDS) is None
    assert queue.job(TENANT, record.id).state == "queued"
    claims.lose(scripts, job.claim)  # its dispatcher, too late


def test_node_alone_is_drained(queue: JobQueue, scripts: RedisScripts, drains: Drains) -> None:
    for _ in range(3):
        submit(queue)
    here, there = hold(scripts, NODE), hold(scripts, OTHER_NODE)
    drains.publish_nodes({NODE: "host-1", OTHER_NODE: "host-2"})
    drains.begin(NODE)
    waiting = queue.job(TENANT, submit(queue).id).queue
    assert waiting is not None
    assert waiting.reason == "no_free_worker", "it may start elsewhere"
    assert (is_told_to_stop(here), is_told_to_stop(there)) == (True, False)
    here.suspend()
    fresh = hold(scripts)
    assert drains.at_work(NODE) == [fresh.claim.job], "it has not said yet where it is"
    fresh.write(fields={"placement": {"node": OTHER_NODE}})
    assert drains.at_work(NODE) == []
    fresh.write(fields={"placement": {"node": OTHER_NODE, "nodes": [OTHER_NODE, NODE]}})
    assert drains.at_work(NODE) == [fresh.claim.job], "one of its workers is there"
    assert is_told_to_stop(fresh)
    fresh.write(fields={"placement": {"node": OTHER_NODE}})
    assert set(drains.at_work()) == {there.claim.job, fresh.claim.job}
    there.suspend()
    assert last_state(queue, queue.job(TENANT, there.claim.job)) == ("queued", "preempted"), "by somebody else"


def test_job_that_left_a_drained_node_is_not_told_to_leave_the_next_one(
    queue: JobQueue, scripts: RedisScripts, drains: Drains
) -> None:
    submit(queue)
    left = hold(scripts, NODE)
    drains.begin(NODE)
    left.suspend()
    again = hold(scripts)
    assert queue.job(TENANT, again.claim.job).placement is None
    assert not is_told_to_stop(again)
    assert drains.at_work(NODE) == [again.claim.job], "it has not said yet where it is"


def test_node_is_called_by_its_host_or_id(drains: Drains, queue: JobQueue) -> None:
    drains.publish_nodes({NODE: "host-1", OTHER_NODE: "host-2"})
    assert [drains.node(name) for name in ("host-2", NODE, "aaaa")] == [OTHER_NODE, NODE, NODE]
    for name in ("host", "c", ""):
        with pytest.raises(NotFound, match=r"there are: host-1 \(a{12}\), host-2 \(b{12}\)"):
            drains.node(name)
    drains.publish_nodes({NODE: "host-1"})
    assert drains.nodes() == {NODE: "host-1"}
    with pytest.raises(NotFound, match="0 nodes with trainers are called host;"):
        drains.node("host")
    drains.publish_nodes({})
    assert drains.nodes() == {}


def test_what_is_drained_is_told_in_the_order_in_which_it_was(drains: Drains, scripts: RedisScripts) -> None:
    assert drains.told() == ""
    scripts.redis.hset(keys.DRAINED, mapping={SERVICE: 2000, NODE: 1000, OTHER_NODE: 3000})
    said = "takes up no jobs since 1970-01-01T00:00:0{}Z; `unroll drain --off` ends that"
    names = ("node aaaaaaaaaaaa", "the service", "node bbbbbbbbbbbb")
    assert drains.told() == "; ".join(f"{name} {said.format(at)}" for at, name in enumerate(names, 1))


def test_drain_lasts_until_it_is_ended_and_that_of_a_node_until_it_leaves(drains: Drains, queue: JobQueue) -> None:
    drains.publish_nodes({NODE: "host-1", OTHER_NODE: "host-2"})
    for what in (SERVICE, NODE, OTHER_NODE):
        drains.begin(what)
    since = drains.since()
    assert set(since) == {SERVICE, NODE, OTHER_NODE}
    drains.begin()
    assert drains.since() == since, "begun again, it lasts since it first began"
    drains.publish_nodes({OTHER_NODE: "host-2"})
    assert set(drains.since()) == {SERVICE, OTHER_NODE}
    drains.end(OTHER_NODE)
    assert set(drains.since()) == {SERVICE}
    drains.begin(OTHER_NODE)
    drains.end()
    assert drains.since() == {}


def test_command_waits_until_no_job_runs(queue: JobQueue, scripts: RedisScripts, drains: Drains) -> None:
    record = submit(queue)
    job = hold(scripts)
    late = unroll(scripts, "drain", "--wait", "--timeout", "0.1")
    assert (late.returncode, record.id in late.stderr) == (7, True), late.stderr
    job.suspend()
    done = unroll(scripts, "drain", "--wait")
    assert (done.returncode, "no job runs" in done.stderr) == (0, True), done.stderr
    assert set(drains.since()) == {SERVICE}
    assert unroll(scripts, "drain", "--off").returncode == 0
    assert drains.since() == {}
    unknown = unroll(scripts, "drain", "--node", "nowhere")
    assert (unknown.returncode, "are called nowhere; there are: none" in unknown.stderr) == (5, True), unknown.stderr


def test_readiness_and_metrics_tell_of_a_drain(api: Api) -> None:
    assert "unroll_drained 0.0" in api.client.get("/metrics").text
    Drains(api.scripts).begin()
    ready = api.anonymous.get("/readyz")
    assert ready.status_code == 200, "it goes on answering"
    assert ready.json()["checks"]["drain"].startswith("the service takes up no jobs since ")
    assert "unroll_drained 1.0" in api.client.get("/metrics").text
    assert api.submit()["queue"]["reason"] == "drained"
