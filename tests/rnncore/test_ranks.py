"""How ranks come to decide alike, with a second rank that says what a test wants. Starts no process."""

from dataclasses import dataclass, field

import pytest

from rnncore.environment import environment
from rnncore.errors import Stopped
from rnncore.fit import resolved_precision
from rnncore.ranks import ALONE, Agreement, Ranks


@dataclass(frozen=True)
class Pair(Ranks):
    """The first of two ranks. The other says `said`, or has died if that is None; `heard` is what it was told."""

    size: int = 2
    said: tuple[float, ...] | None = ()
    heard: list[float] = field(default_factory=list)

    def greatest(self, *values: float) -> list[float]:
        self.heard.extend(values)
        if self.said is None:
            raise RuntimeError("connection closed by peer")
        return [max(pair) for pair in zip(values, self.said, strict=True)]


def fail() -> None:
    raise OSError("disk")


def test_fault_of_one_alone_is_raised_at_once() -> None:
    agreement = Agreement(ALONE)
    with pytest.raises(OSError, match="disk"):
        agreement.attempt(fail)
    assert agreement.reach(3.0, 5.0) == [3.0, 5.0], "and is not held back"


def test_ranks_agree_on_the_greatest_of_each_value() -> None:
    assert Agreement(Pair(said=(0.0, 2.0, 7.0))).reach(3.0, 5.0) == [3.0, 7.0]


def test_fault_is_held_back_until_the_others_have_heard_of_it_and_nothing_is_done_after_it() -> None:
    ranks, done = Pair(said=(0.0, 9.0)), []
    agreement = Agreement(ranks)
    agreement.attempt(lambda: done.append("before"))
    agreement.attempt(fail)
    agreement.attempt(lambda: done.append("after"))
    with pytest.raises(OSError, match="disk"):
        agreement.reach(4.0)
    assert (ranks.heard, done) == ([1.0, 4.0], ["before"])


def test_fault_of_another_stops_this_one() -> None:
    with pytest.raises(Stopped, match="another worker of the job has stopped"):
        Agreement(Pair(said=(1.0,))).reach()


def test_fault_of_this_rank_says_more_than_that_another_has_died() -> None:
    agreement = Agreement(Pair(said=None))
    agreement.attempt(fail)
    with pytest.raises(OSError, match="disk"):
        agreement.reach()
    with pytest.raises(RuntimeError, match="closed by peer"):
        Agreement(Pair(said=None)).reach()


def test_no_rank_trains_in_a_precision_that_the_hardware_of_another_lacks() -> None:
    precision, why = resolved_precision("bf16-mixed", Pair(said=(1.0,)))
    assert (precision, str(why).startswith("this hardware cannot multiply bf16")) == ("fp32", True)
    assert resolved_precision("auto", Pair(said=(1.0,))) == ("fp32", None)
    unasked = Pair(said=(1.0,))
    assert resolved_precision("fp32", unasked) == ("fp32", None)
    assert unasked.heard == []


def test_number_of_ranks_is_one_of_the_facts_that_bits_depend_on() -> None:
    assert environment(Pair()) == environment() | {"workers": 2}


@pytest.mark.parametrize(("num_rows", "shares"), [(12, [4, 4, 4]), (2, [0, 1, 1]), (7, [2, 2, 3])])
def test_rows_are_shared_out_in_the_order_of_ranks_each_once(num_rows: int, shares: list[int]) -> None:
    parts = [Ranks(rank, 3).rows(num_rows) for rank in range(3)]
    assert [row for part in parts for row in range(num_rows)[part]] == list(range(num_rows))
    assert [len(range(num_rows)[part]) for part in parts] == shares
