"""How many trials a sweep has open where they may be fused, and when one could be."""

from typing import Any

import pytest
from api_service import LEASE_SECONDS, Api
from sweep_samples import create, sweeper, trials

from rnncore.fusable import MOST_FUSED
from services.jobqueue import claims, keys
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Capacity, JobRecord, Seats

NUM_WORKERS = 2
RATES = {"train.learning_rate": {"min": 1e-4, "max": 1e-1}}
MANY: dict[str, Any] = {"max_parallel": None, "budget": {"max_trials": 100}, "parameters": RATES}


@pytest.fixture
def api(api: Api) -> Api:
    claims.publish_capacity(api.scripts, Capacity(Seats(NUM_WORKERS, 0), 1 << 40))
    return api


def opened(api: Api, **changes: Any) -> int:
    """Trials that a new sweep has open at first."""
    sweep = create(api, **MANY | changes)["id"]
    sweeper(api).step()
    assert api.scripts.redis.exists(keys.filling(sweep)) == 0
    return len(trials(api, sweep))


def claimed(api: Api, free: int = NUM_WORKERS) -> int:
    """Trials that the next claim hands out."""
    return len(claims.claim_fused(api.scripts, lease_seconds=LEASE_SECONDS, free=Seats(free, 0), most=MOST_FUSED))


def test_every_worker_has_as_many_trials_as_it_can_fuse(api: Api) -> None:
    assert opened(api) == NUM_WORKERS * MOST_FUSED
    assert [claimed(api, free) for free in range(NUM_WORKERS, 0, -1)] == [MOST_FUSED] * NUM_WORKERS


def test_sweep_that_says_never_has_a_worker_for_each_trial(api: Api) -> None:
    assert opened(api, fuse="never", max_parallel=None) == NUM_WORKERS
    assert claimed(api, 1) == 1


def test_setting_turns_fusing_off(api: Api) -> None:
    sweep = create(api, **MANY)["id"]
    moves = sweeper(api)
    moves.settings = api.settings.model_copy(update={"fuse": False})
    moves.step()
    assert len(trials(api, sweep)) == NUM_WORKERS
    assert claimed(api, 1) == 1


def test_number_that_was_asked_for_is_kept_to_and_fused(api: Api) -> None:
    assert opened(api, max_parallel=6) == 6
    assert claimed(api) == 3


@pytest.mark.parametrize(
    "parameters",
    [RATES | {"model.hidden_size": {"min": 4, "max": 9}}, {"train.batch_size": {"values": [3, 4]}}],
    ids=["units", "streams"],
)
def test_sweep_over_shapes_has_a_worker_for_each_trial(api: Api, parameters: dict[str, Any]) -> None:
    assert opened(api, parameters=parameters) == NUM_WORKERS


def test_search_that_learns_runs_one_point_a_worker_once_it_has_drawn_its_first(api: Api) -> None:
    assert opened(api, search={"method": "tpe"}) == 10


def test_replicates_of_a_point_are_fused_by_a_search_that_learns(api: Api) -> None:
    claims.publish_capacity(api.scripts, Capacity(Seats(11, 0), 1 << 40))
    assert opened(api, search={"method": "tpe"}, replicates=4) == 11 * 4


class EagerQueue(JobQueue):
    """One whose jobs a dispatcher asks for at once."""

    def __init__(self, api: Api) -> None:
        super().__init__(api.scripts)
        self._api = api
        self.handed_out: list[int] = []

    def submit(self, *arguments: Any, **options: Any) -> JobRecord:
        record = super().submit(*arguments, **options)
        self.handed_out.append(claimed(self._api))
        return record


def test_no_trial_starts_before_those_that_are_started_with_it_are_there(api: Api) -> None:
    create(api, **MANY, fuse="auto")
    moves = sweeper(api)
    moves.queue = queue = EagerQueue(api)
    moves.step()
    assert queue.handed_out == [0] * NUM_WORKERS * MOST_FUSED
    assert claimed(api) == MOST_FUSED


@pytest.mark.parametrize(
    ("changes", "handed_out"),
    [({"budget": {"max_trials": 1}}, [1]), ({"max_parallel": 1}, [1]), ({"max_parallel": 2}, [0, 0])],
    ids=["last", "one-at-a-time", "two-at-once"],
)
def test_trial_that_is_started_alone_waits_for_no_other(
    api: Api, changes: dict[str, Any], handed_out: list[int]
) -> None:
    create(api, **MANY | changes)
    moves = sweeper(api)
    moves.queue = queue = EagerQueue(api)
    moves.step()
    assert queue.handed_out == handed_out
