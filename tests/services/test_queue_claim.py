"""Claiming: who comes first, and that an answer lost on its way costs no job."""

from queue_samples import DATASET, LEASE_SECONDS, TENANT, VALIDATION, add_datasets, contents, make_spec, submit

from services.jobqueue import claims
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Claim, JobState
from services.jobqueue.scripts import RedisScripts


def claim(scripts: RedisScripts, token: str | None = None) -> Claim | None:
    return claims.claim(scripts, lease_seconds=LEASE_SECONDS, token=token)


def claimed(scripts: RedisScripts, number: int) -> list[str]:
    """The jobs that the next `number` claims get."""
    found = [claim(scripts) for _ in range(number)]
    return [held.job for held in found if held]


def test_nothing_ready_is_no_claim(queue: JobQueue, scripts: RedisScripts) -> None:
    assert claim(scripts) is None


def test_claim_carries_all_that_a_trainer_needs(queue: JobQueue, scripts: RedisScripts) -> None:
    job = submit(queue, name="first")
    assert claim(scripts, "token-1") == Claim(job.id, TENANT, 1, "token-1", 1, make_spec(name="first"))
    record = queue.job(TENANT, job.id)
    assert (record.state, record.epoch, record.attempt, record.queue) == (JobState.RUNNING, 1, 1, None)
    assert record.started_at is not None


def test_equal_priorities_run_in_order_of_submission(queue: JobQueue, scripts: RedisScripts) -> None:
    ids = [submit(queue).id for _ in range(3)]
    assert claimed(scripts, 4) == ids


def test_higher_priority_runs_first(queue: JobQueue, scripts: RedisScripts) -> None:
    low, high, middle, high_too = (submit(queue, priority=p).id for p in (0, 9, 5, 9))
    assert claimed(scripts, 4) == [high, high_too, middle, low]


def test_two_tenants_share_fairly_however_much_one_submits(queue: JobQueue, scripts: RedisScripts) -> None:
    add_datasets(queue, "tenant-b", VALIDATION)
    many = [submit(queue).id for _ in range(6)]
    few = [submit(queue, "tenant-b", dataset=VALIDATION).id for _ in range(3)]
    order = claimed(scripts, 9)
    assert [job for job in order if job in many] == many
    assert [job for job in order if job in few] == few
    assert all(len({order[i] in few, order[i + 1] in few}) == 2 for i in (0, 2, 4))


def test_tenant_that_waited_idle_saves_up_no_turns(queue: JobQueue, scripts: RedisScripts) -> None:
    add_datasets(queue, "tenant-b", VALIDATION)
    for _ in range(5):
        submit(queue)
    claimed(scripts, 5)
    many = [submit(queue).id for _ in range(2)]
    few = [submit(queue, "tenant-b", dataset=VALIDATION).id for _ in range(2)]
    order = claimed(scripts, 4)
    assert {job in few for job in order[:2]} == {True, False}
    assert sorted(order) == sorted(many + few)


def test_claim_sent_twice_with_its_token_gets_the_same_job(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    submit(queue)
    first = claim(scripts, "token-1")
    before = contents(scripts)
    assert claim(scripts, "token-1") == first
    assert contents(scripts) == before


def test_claim_sent_again_after_its_job_went_to_another_gets_nothing(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    first = claim(scripts, "token-1")
    assert first is not None
    claims.lose(scripts, first)
    assert claim(scripts, "token-2") == first._replace(token="token-2", epoch=2, attempt=2)
    assert claim(scripts, "token-1") is None


def test_running_job_is_not_claimed_a_second_time(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    assert claim(scripts) is not None
    assert claim(scripts) is None


def test_place_in_the_queue_counts_the_jobs_before(queue: JobQueue) -> None:
    last, first = submit(queue, priority=1), submit(queue, priority=8)
    places = [queue.job(TENANT, job.id).queue for job in (first, last)]
    assert [place and (place.position, place.reason) for place in places] == [
        (1, "no_free_worker"),
        (2, "no_free_worker"),
    ]


def test_claim_keeps_the_data_set_in_use(queue: JobQueue, scripts: RedisScripts) -> None:
    submit(queue)
    claim(scripts)
    assert queue.datasets.get(TENANT, DATASET)[0].uses == 1
