"""What the dispatcher tells of its places, by what they do. Every state is told, at zero too."""

import re
from collections.abc import Callable

import pytest
from prometheus_client import generate_latest

from services.jobqueue.records import Seats
from services.metrics import METRICS
from workers.meters import Meters
from workers.places import Seat, Work


def seat(name: str, node: str = "node-a", **state: object) -> Seat:
    made = Seat(name, node, "host", threads=1, has_gpu=False, memory=0)
    for field, value in state.items():
        setattr(made, field, value)
    return made


def told(meters: Meters) -> dict[str, float]:
    lines = generate_latest(meters.registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_places_are_counted_by_what_they_do() -> None:
    meters = Meters()
    work = Work(claim=None, future=None)  # type: ignore[arg-type]
    seats = [
        seat("1", is_warm=True),
        seat("2", is_warm=True),
        seat("3", is_warm=True, work=work),
        seat("4", guests={"guest-1": 4}, node="node-b"),
        seat("5", guests={"guest-1": 4}, node="node-b"),
        seat("6"),
        seat("7", is_warm=True, is_drained=True, node="node-c"),
    ]
    meters.places(seats, [2], 3)
    found = told(meters)
    assert {key: value for key, value in found.items() if key.startswith(("unroll_trainers", "unroll_nodes"))} == {
        'unroll_trainers{state="idle"}': 2,
        'unroll_trainers{state="busy"}': 3,
        'unroll_trainers{state="starting"}': 1,
        'unroll_trainers{state="drained"}': 1,
        "unroll_nodes": 3,
    }
    assert (found['unroll_guests{kind="gang"}'], found['unroll_guests{kind="share"}']) == (1, 3)
    assert found["unroll_gang_workers"] == 2


def test_state_that_no_place_is_in_any_more_is_told_as_zero() -> None:
    meters = Meters()
    meters.places([seat("1")], [], 0)
    meters.places([], [], 0)
    assert told(meters)['unroll_trainers{state="starting"}'] == 0


def test_round_that_fails_is_no_sign_of_life() -> None:
    meters = Meters()
    with pytest.raises(RuntimeError), meters.round():
        raise RuntimeError("Ray is away")
    assert told(meters)["unroll_dispatcher_last_round_timestamp_seconds"] == 0
    with meters.round():
        pass
    found = told(meters)
    assert found["unroll_dispatcher_last_round_timestamp_seconds"] > 1e9
    assert found["unroll_dispatcher_round_duration_seconds_count"] == 1


@pytest.mark.parametrize(
    ("act", "series"),
    [
        (lambda meters: meters.placed("cold"), 'unroll_dispatcher_claims_total{start="cold"}'),
        (lambda meters: meters.died(), "unroll_trainer_deaths_total"),
        (lambda meters: meters.fault("ray"), 'unroll_dispatcher_faults_total{source="ray"}'),
        (lambda meters: meters.garbage(1), "unroll_garbage_bytes_total"),
        (lambda meters: meters.wanted(Seats(0, 1)), 'unroll_workers_wanted{kind="gpu"}'),
    ],
)
def test_each_happening_raises_its_own_series_alone(act: Callable[[Meters], None], series: str) -> None:
    meters = Meters()
    before = told(meters)
    act(meters)
    after = told(meters)
    changed = {key for key in after if key.startswith("unroll_") and after[key] != before[key]}
    assert (changed, after[series]) == ({series}, 1)


def test_every_family_of_the_dispatcher_stands_in_the_declarations() -> None:
    exposed = dict(re.findall(r"^# HELP (unroll_\S+) (.*)$", generate_latest(Meters().registry).decode(), re.MULTILINE))
    told_here = ("dispatcher", "each process")
    assert exposed == {metric.name: metric.help for metric in METRICS if metric.teller in told_here}
