"""What a run says it ran under, over all of its attempts."""

import pytest

from rnncore.environment import Environment, environment, in_turn


def test_only_a_fused_program_says_of_how_many_trials() -> None:
    assert "fused" not in environment()
    assert environment(fused=3) == environment() | {"fused": 3}


@pytest.mark.parametrize(
    ("earlier", "now", "both"),
    [
        ({"threads": 1}, {"threads": 1}, {"threads": 1}),
        ({"threads": 1}, {"threads": 2}, {"threads": "1, then 2"}),
        ({"threads": "1, then 2"}, {"threads": 2}, {"threads": "1, then 2"}),
        ({"threads": "1, then 2"}, {"threads": 1}, {"threads": "1, then 2, then 1"}),
        ({"fused": 8}, {"threads": 1}, {"fused": 8, "threads": 1}),
        ({"threads": 1}, {"fused": 8, "threads": 1}, {"fused": 8, "threads": 1}),
        ({}, {"threads": 1}, {"threads": 1}),
    ],
)
def test_what_changed_between_attempts_has_its_values_in_turn(
    earlier: Environment, now: Environment, both: Environment
) -> None:
    assert in_turn(earlier, now) == both
