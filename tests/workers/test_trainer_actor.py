"""The actor around the trainer: which of its threads does what."""

import threading

import pytest
import ray

from workers.trainer_actor import ACTOR_OPTIONS, TrainerProcess

JOBS = 5


@pytest.fixture(scope="module")
def actor():
    # Classes of a function travel to the worker whole: it cannot import the tests.
    class ThreadNamer:
        can_fuse = False

        def run(self, claim, start):
            return str(threading.get_ident())

    class Process(TrainerProcess):
        def __init__(self):
            self._trainer = ThreadNamer()
            self._running, self._place = [], None

    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    yield ray.remote(**ACTOR_OPTIONS)(Process).remote()
    ray.shutdown()


def test_every_job_runs_on_the_same_thread_whatever_is_asked_meanwhile(actor):
    threads = set()
    for number in range(JOBS):
        answers = [actor.ping.remote() for _ in range(3)]
        threads.add(ray.get(actor.run.remote((f"job-{number:016}", "tenant", 1, "token", 1, None), "warm")))
        ray.get(answers)
    assert len(threads) == 1
