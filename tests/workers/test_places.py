"""Which seats a job gets, and what is told to be free."""

import pytest

from rnncore.spec import JobSpec
from services.jobqueue.records import Claim, Seats
from workers.places import Seat, choose_seats, free_seats
from workers.trainer import limit_gpu_memory


def seat(name: str, node: str = "n", *, has_gpu: bool = False, is_warm: bool = True) -> Seat:
    made = Seat(name, node, "host", threads=2, has_gpu=has_gpu, memory=1)
    made.is_warm = is_warm
    return made


def claim(kind: str, workers: int = 1, share: float | None = None) -> Claim:
    resources = {"num_workers": workers, "gpus_per_worker": share}
    spec = JobSpec.model_validate({"dataset": "ds-" + "a" * 32, "resources": resources})
    return Claim("job", "tenant", 1, "token", 1, spec, kind, "", workers)


def names(seats: list[Seat]) -> list[str]:
    return [one.name for one in seats]


def test_gang_is_kept_on_as_few_nodes_as_may_be() -> None:
    seats = [
        seat("a1", "a"),
        seat("b1", "b"),
        seat("b2", "b"),
        seat("c1", "c", is_warm=False),
        seat("g", "b", has_gpu=True),
    ]
    assert names(choose_seats(seats, claim("cpu", 2))) == ["b1", "b2"]
    assert names(choose_seats(seats, claim("cpu", 4))) == ["b1", "b2", "a1"], "a cold seat is none to have"


def test_share_goes_to_the_fullest_gpu_that_has_it_left() -> None:
    gpus = [seat(name, has_gpu=True) for name in ("free", "half", "full", "quarter")]
    gpus[1].guests, gpus[2].guests, gpus[3].guests = {"x": 2}, {"y": 4}, {"z": 1, "w": 2}
    for share, expected in ((0.25, "quarter"), (0.5, "half"), (0.75, "free"), (1.0, "free")):
        assert names(choose_seats(gpus, claim("gpu", share=share))) == [expected]
    assert free_seats(gpus) == Seats(0, 1, (2, 1))


def test_seats_of_a_gang_are_free_for_nobody_and_only_a_gpu_loses_its_warm_trainer() -> None:
    seats = [seat("cpu"), seat("gpu", has_gpu=True)]
    for one in seats:
        one.guests["gang"] = 4
    assert free_seats(seats) == Seats(0, 0)
    assert [one.wants_trainer for one in seats] == [True, False]
    for one in seats:
        one.guests.clear()
    assert free_seats(seats) == Seats(1, 1)


@pytest.mark.parametrize(("quarters", "fraction"), [(1, 0.25), (3, 0.75)])
def test_share_of_a_gpu_is_a_share_of_its_memory(quarters: int, fraction: float) -> None:
    told: list[float] = []
    limit_gpu_memory(quarters, told.append)
    assert told == [fraction]
