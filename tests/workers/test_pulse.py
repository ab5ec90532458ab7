"""What is told of the seats."""

import math
from typing import Any, cast

from rnncore.spec import JobSpec
from services.jobqueue.floor import Occupant, Worker
from services.jobqueue.records import Claim
from workers.places import Seat, Work
from workers.pulse import Pulse

SPEC = JobSpec.model_validate({"dataset": "ds-" + "a" * 32})


def claim(job: str) -> Claim:
    return Claim(job, "tenant", 1, "token", 1, SPEC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def seat(name: str = "trainer-0", *, has_gpu: bool = False, is_warm: bool = True, job: str | None = None) -> Seat:
    made = Seat(name, "n", "host", threads=3, has_gpu=has_gpu, memory=7)
    made.is_warm = is_warm
    made.work = Work((claim(job),), cast(Any, None)) if job else None
    return made


def test_seat_is_told_with_what_it_has_and_who_is_there() -> None:
    told = Pulse(Clock()).tell([seat(job="job-1")], {})
    assert told == [
        Worker(
            id="trainer-0",
            node="n",
            host="host",
            kind="cpu",
            threads=3,
            memory_bytes=7,
            state="busy",
            is_drained=False,
            jobs=[Occupant(job="job-1", share=1.0)],
            num_jobs=1,
            utilisation=1.0,
        )
    ]


def test_seat_is_starting_until_its_trainer_is_warm() -> None:
    seats = [seat("a", is_warm=False), seat("b"), seat("c", is_warm=False, job="job-1")]
    assert [one.state for one in Pulse(Clock()).tell(seats, {})] == ["starting", "idle", "busy"]


def test_job_of_an_earlier_dispatcher_and_shares_of_a_gpu_are_told() -> None:
    inherited, shared = seat("a", is_warm=False), seat("b", has_gpu=True)
    inherited.inherited = ["job-1"]
    shared.guests = {"guest-y": 2, "guest-x": 1}
    first, second = Pulse(Clock()).tell([inherited, shared], {"guest-x": "job-2", "guest-y": "job-3"})
    assert (first.state, first.jobs) == ("busy", [Occupant(job="job-1")])
    assert second.jobs == [Occupant(job="job-2", share=0.25), Occupant(job="job-3", share=0.5)]
    assert second.utilisation == 0.75


def test_trials_that_are_trained_together_share_their_seat() -> None:
    place = seat(job="job-1")
    place.work = Work((claim("job-1"), claim("job-2")), cast(Any, None))
    (told,) = Pulse(Clock()).tell([place], {})
    assert (told.jobs, told.num_jobs, told.utilisation) == (
        [Occupant(job="job-1", share=0.5), Occupant(job="job-2", share=0.5)],
        2,
        1.0,
    )


def test_utilisation_forgets_within_minutes() -> None:
    clock = Clock()
    pulse, place = Pulse(clock), seat(job="job-1")
    pulse.tell([place], {})
    place.work = None
    clock.now += 300
    assert pulse.tell([place], {})[0].utilisation == round(math.exp(-1), 2)
    clock.now += 3000
    assert pulse.tell([place], {})[0].utilisation == 0.0
