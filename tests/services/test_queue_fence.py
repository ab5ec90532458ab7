"""The fence: only the present claim, by epoch and by token, writes anything; and each report is written once."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from queue_samples import LEASE_SECONDS, TENANT, contents, make_checkpoint, submit

from rnncore.errors import Cancelled, LeaseLost, Unavailable
from services.jobqueue import claims, keys
from services.jobqueue.claims import ClaimedJob
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, Placement
from services.jobqueue.scripts import RedisScripts

ERROR = {"type": "io_error", "message": "disk gone", "log_tail": ""}


@pytest.fixture
def held(queue: JobQueue, scripts: RedisScripts) -> Claim:
    """The second claim of a job whose first worker was lost."""
    submit(queue)
    first = claims.claim(scripts, lease_seconds=LEASE_SECONDS, token="old token")
    assert first is not None
    claims.lose(scripts, first)
    second = claims.claim(scripts, lease_seconds=LEASE_SECONDS, token="new token")
    assert second is not None
    return second


def write(scripts: RedisScripts, claim: Claim) -> None:
    _job(scripts, claim).write(
        fields={"progress": {"step": 9}},
        events=[("message", {"level": "info", "text": "late"})],
        publish=[make_checkpoint(claim, 9)],
        drop=[5],
        totals={"steps:lstm": 9},
    )


def beat(scripts: RedisScripts, claim: Claim) -> None:
    _job(scripts, claim).write()


def finish(scripts: RedisScripts, claim: Claim) -> None:
    _job(scripts, claim).finish("succeeded", "5" * 64)


def fail_for_good(scripts: RedisScripts, claim: Claim) -> None:
    _job(scripts, claim).fail(ERROR, retriable=False)


def fail_for_now(scripts: RedisScripts, claim: Claim) -> None:
    _job(scripts, claim).fail(ERROR, retriable=True)


def _job(scripts: RedisScripts, claim: Claim) -> ClaimedJob:
    return ClaimedJob(scripts, claim, lease_seconds=LEASE_SECONDS)


STALE = {
    "old epoch and its token": {"epoch": 1, "token": "old token"},
    "present epoch, another token": {"token": "old token"},
    "old epoch, present token": {"epoch": 1},
    "epoch of the future": {"epoch": 3},
    "no token": {"token": ""},
}


@pytest.mark.parametrize("stale", STALE.values(), ids=STALE)
@pytest.mark.parametrize("act", [write, beat, finish, fail_for_good, fail_for_now])
def test_stale_claim_is_refused_and_changes_nothing(
    scripts: RedisScripts, held: Claim, act: Callable[[RedisScripts, Claim], None], stale: dict[str, Any]
) -> None:
    before = contents(scripts)
    with pytest.raises(LeaseLost):
        act(scripts, held._replace(**stale))
    assert contents(scripts) == before


@pytest.mark.parametrize("stale", STALE.values(), ids=STALE)
@pytest.mark.parametrize("act", [claims.release, claims.lose])
def test_stale_claim_gives_nothing_back(
    scripts: RedisScripts, held: Claim, act: Callable[[RedisScripts, Claim], None], stale: dict[str, Any]
) -> None:
    before = contents(scripts)
    act(scripts, held._replace(**stale))
    assert contents(scripts) == before


def test_present_claim_writes_fields_events_checkpoints_and_totals(
    queue: JobQueue, scripts: RedisScripts, held: Claim
) -> None:
    job = _job(scripts, held)
    job.write(publish=[make_checkpoint(held, 5)])
    place = Placement(start="warm", node="n", pid=7, device="cpu", threads=1)
    job.write(
        fields={"placement": place.model_dump(), "best": {"step": 9, "validation_loss": 1.5}},
        events=[("message", {"level": "info", "text": "hello"})],
        publish=[make_checkpoint(held, 9), make_checkpoint(held, 11)],
        drop=[5],
        totals={"steps:lstm": 3, "characters:lstm": 21},
    )
    assert queue.job(TENANT, held.job).placement == place
    assert queue.checkpoints(TENANT, held.job) == [
        make_checkpoint(held, 11).model_copy(update={"is_latest": True}),
        make_checkpoint(held, 9).model_copy(update={"is_best": True}),
    ]
    events, _ = queue.events(TENANT, held.job, after=None, limit=20)
    assert (events[-1].type, events[-1].data) == ("message", {"level": "info", "text": "hello"})
    assert scripts.redis.hmget(keys.COUNTERS, "steps:lstm", "characters:lstm") == ["3", "21"]


def test_report_sent_twice_is_written_once(scripts: RedisScripts, held: Claim) -> None:
    def send() -> Any:
        report = (1, "progress", json.dumps({"step": 3}), 1, "message", "{}", 0, 0, 1, "steps:lstm", 3)
        return scripts.run("beat", held.job, held.epoch, held.token, 30_000, 1, *report)

    assert send() == "ok"
    before = contents(scripts)
    assert send() == "ok"
    after = contents(scripts)
    assert before.pop(keys.LEASES)[0][1] <= after.pop(keys.LEASES)[0][1]
    assert after == before


class LossyScripts(RedisScripts):
    """Runs each beat, and then loses the first answer."""

    lost = False

    def run(self, name: str, *arguments: str | int | float) -> Any:
        answer = super().run(name, *arguments)
        if name == "beat" and not self.lost:
            self.lost = True
            raise Unavailable("the answer was lost")
        return answer


def test_write_whose_answer_is_lost_is_sent_again_and_written_once(
    queue: JobQueue, scripts: RedisScripts, held: Claim
) -> None:
    lossy = LossyScripts(scripts.url)
    _job(lossy, held).write(events=[("message", {"text": "once"})], totals={"steps:lstm": 3})
    lossy.close()
    assert lossy.lost
    events, _ = queue.events(TENANT, held.job, after=None, limit=20)
    assert [event.data for event in events if event.type == "message"] == [{"text": "once"}]
    assert scripts.redis.hget(keys.COUNTERS, "steps:lstm") == "3"


def test_reports_of_the_next_claim_count_from_one_again(queue: JobQueue, scripts: RedisScripts, held: Claim) -> None:
    job = _job(scripts, held)
    for _ in range(3):
        job.write(events=[("message", {"epoch": 2})])
    claims.lose(scripts, held)
    third = claims.claim(scripts, lease_seconds=LEASE_SECONDS)
    assert third is not None
    _job(scripts, third).write(events=[("message", {"epoch": 3})])
    events, _ = queue.events(TENANT, held.job, after=None, limit=20)
    assert [event.data["epoch"] for event in events if event.type == "message"] == [2, 2, 2, 3]


def test_claim_once_lost_stays_lost_though_its_token_returns(
    queue: JobQueue, scripts: RedisScripts, held: Claim
) -> None:
    job = _job(scripts, held)
    scripts.redis.hset(keys.job(held.job), "token", "somebody else")
    with pytest.raises(LeaseLost):
        job.write()
    scripts.redis.hset(keys.job(held.job), "token", held.token)
    with pytest.raises(LeaseLost):
        job.write()


def test_claimed_job_of_a_cancelled_one_raises_cancelled(queue: JobQueue, scripts: RedisScripts, held: Claim) -> None:
    job = _job(scripts, held)
    queue.cancel(TENANT, held.job)
    with pytest.raises(Cancelled, match=held.job):
        job.write()
    with pytest.raises(Cancelled):
        job.check()
