"""In-flight batching: a text is the same whoever shares the batch, turns are fair, and whoever leaves frees a place."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from rnncore.continuation import continuation
from rnncore.errors import Overloaded, TooManyRequests
from rnncore.network import RecurrentNetwork
from rnncore.sampling import SamplingParameters
from rnncore.spec import ModelSpec
from rnncore.stepper import Stepper
from rnncore.vocabulary import Vocabulary
from rnncore.writing import Writer
from services.sampling.batcher import Batcher
from services.sampling.lane import Engine
from services.sampling.prefixes import BLOCK_SYMBOLS
from services.sampling.row import Row

VOCABULARY = Vocabulary(kind="characters", symbols="abcdefghijk")
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]


def engine(name: str = "p", cell: str = "lstm", hidden_size: int = 13) -> Engine:
    torch.manual_seed(5)
    model = ModelSpec(cell=cell, hidden_size=hidden_size, num_layers=2, embedding_size=7)
    network = RecurrentNetwork(model, vocabulary_size=VOCABULARY.size).eval()
    return Engine(Stepper(network), name, None)


def row(*, key: str = "k", ids: Sequence[int] = PROMPT, seed: int = 1, max_tokens: int = 30, **more: Any) -> Row:
    chosen = {"temperature", "top_k", "top_p", "presence_penalty", "frequency_penalty", "stop"} & more.keys()
    parameters = SamplingParameters(seed=seed, max_tokens=max_tokens, **{name: more.pop(name) for name in chosen})
    return Row(key=key, ids=np.array(ids), parameters=parameters, **more)


class Waiter:
    """Wakes whoever waits for rows whenever the batcher has news."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.told: list[Row] = []

    def __call__(self, rows: list[Row]) -> None:
        with self._news:
            self.told += rows
            self._news.notify_all()

    def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Looks at every news, and now and then for what is told to nobody."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not condition():
                assert time.monotonic() < deadline
                self._news.wait(0.005)

    def ended(self, *rows: Row) -> list[list[int]]:
        """What the rows wrote once all have ended."""
        self.until(lambda: all(row.has_ended for row in rows))
        for row in rows:
            assert row.error is None, row.error
        return [row.written for row in rows]


@contextmanager
def batching(**limits: int) -> Iterator[tuple[Batcher, Waiter]]:
    waiter = Waiter()
    batcher = Batcher(waiter, **limits)
    try:
        yield batcher, waiter
    finally:
        batcher.close()


def alone(one: Row, model: Engine | None = None) -> list[int]:
    with batching() as (batcher, waiter):
        batcher.submit(model or engine(), [one])
        return waiter.ended(one)[0]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_text_of_a_seed_does_not_depend_on_who_shares_the_batch(cell: str) -> None:
    model = engine(cell=cell)
    wanted = alone(row(top_p=0.9, frequency_penalty=0.3), model)
    others = [
        row(key=f"k{n % 3}", ids=PROMPT[: 1 + n % 8], seed=n, max_tokens=3 + 7 * n, top_k=1 + n) for n in range(9)
    ]
    one = row(top_p=0.9, frequency_penalty=0.3)
    with batching() as (batcher, waiter):
        batcher.submit(model, others[:6])
        waiter.until(lambda: others[0].has_ended)
        batcher.submit(model, [one])
        batcher.submit(model, others[6:])
        assert waiter.ended(one, *others)[0] == wanted


def test_sample_of_a_checkpoint_is_what_the_service_would_have_answered() -> None:
    model = engine()
    parameters = SamplingParameters(temperature=0.7, max_tokens=160, seed=12)
    expected = continuation(model.stepper, VOCABULARY, PROMPT, parameters)
    assert VOCABULARY.decode(alone(row(temperature=0.7, max_tokens=160, seed=12), model)) == expected


def test_parked_row_goes_on_as_if_it_had_never_left() -> None:
    model = engine()
    wanted = [alone(row(seed=seed, max_tokens=400, presence_penalty=0.5), model) for seed in (1, 2)]
    greedy = [row(key="a", seed=seed, max_tokens=400, presence_penalty=0.5) for seed in (1, 2)]
    with batching(capacity=2) as (batcher, waiter):
        batcher.submit(model, greedy)
        waiter.until(lambda: all(one.written for one in greedy))
        newcomers = [row(key=f"b{n}", max_tokens=5) for n in range(4)]
        for newcomer in newcomers:
            batcher.submit(model, [newcomer])
        waiter.ended(*newcomers)
        assert waiter.ended(*greedy) == wanted


def test_key_that_asks_for_little_is_not_kept_waiting_by_one_that_asks_for_much() -> None:
    model = engine()
    much = [row(key="much", seed=n, max_tokens=100_000) for n in range(20)]
    little = row(key="little", max_tokens=10)
    with batching(capacity=4) as (batcher, waiter):
        batcher.submit(model, much)
        waiter.until(lambda: bool(much[0].written))
        batcher.submit(model, [little])
        waiter.ended(little)
        assert not any(one.has_ended for one in much)
        batcher.cancel(much)


def test_long_prompts_do_not_keep_short_ones_waiting() -> None:
    model = engine()
    long = [row(key="long", ids=PROMPT * 4000, max_tokens=1) for _ in range(70)]
    short = row(key="short", ids=PROMPT, max_tokens=10)
    with batching() as (batcher, waiter):
        batcher.submit(model, long)
        batcher.submit(model, [short])
        waiter.ended(short)
        assert not any(one.has_ended for one in long)
        batcher.cancel(long)


def test_one_model_does_not_keep_another_waiting() -> None:
    slow, quick = engine("slow", hidden_size=300), engine("quick")
    long = [row(seed=n, max_tokens=5000) for n in range(30)]
    one = row(max_tokens=20)
    with batching() as (batcher, waiter):
        batcher.submit(slow, long)
        waiter.until(lambda: bool(long[0].written))
        batcher.submit(quick, [one])
        waiter.ended(one)
        assert not any(other.has_ended for other in long)
        batcher.cancel(long)


def test_row_that_is_cancelled_frees_its_place_and_harms_no_other() -> None:
    model = engine()
    wanted = alone(row(seed=2, max_tokens=300), model)
    left, stays = row(seed=1, max_tokens=100_000), row(seed=2, max_tokens=300)
    with batching() as (batcher, waiter):
        batcher.submit(model, [left, stays])
        waiter.until(lambda: bool(left.written))
        batcher.cancel([left])
        assert waiter.ended(stays) == [wanted]
        written = len(left.written)
        another = row()
        batcher.submit(model, [another])
        waiter.ended(another)
        assert (len(left.written), left.has_ended) == (written, False)
        waiter.until(lambda: batcher.num_rows == 0)


def test_hit_miss_continuation_and_whole_prompt_give_the_same_text() -> None:
    model = engine()
    ids = np.random.default_rng(3).integers(0, 11, 2 * BLOCK_SYMBOLS + 50).tolist()
    wanted = alone(row(ids=ids), model)
    with batching() as (batcher, waiter):
        first, second = row(ids=ids), row(ids=ids)
        for one in (first, second):
            batcher.submit(model, [one])
            assert waiter.ended(one) == [wanted]
        assert (batcher.prefixes.num_misses, batcher.prefixes.num_hits) == (1, 1)
        for cut in (1, 7, BLOCK_SYMBOLS, BLOCK_SYMBOLS + 1, len(ids) - 1):
            begun = row(ids=ids[:cut], max_tokens=0, wants_state=True)
            batcher.submit(model, [begun])
            waiter.ended(begun)
            assert begun.context is not None
            rest = [*begun.context.unread.tolist(), *ids[cut:]]
            went_on = row(ids=rest, state_S=torch.from_numpy(begun.context.state_S))
            batcher.submit(model, [went_on])
            assert waiter.ended(went_on) == [wanted]


def test_written_text_can_be_gone_on_from_as_if_it_had_been_the_prompt() -> None:
    model = engine()
    begun = row(max_tokens=23, wants_state=True)
    with batching() as (batcher, waiter):
        batcher.submit(model, [begun])
        (written,) = waiter.ended(begun)
        assert begun.context is not None
        whole = row(ids=[*PROMPT, *written, 7], seed=9)
        went_on = row(ids=[*begun.context.unread.tolist(), 7], state_S=torch.from_numpy(begun.context.state_S), seed=9)
        batcher.submit(model, [whole, went_on])
        texts = waiter.ended(whole, went_on)
        assert texts[0] == texts[1]


@pytest.mark.parametrize("place", [0, 4, 11])
def test_conversation_ends_before_the_stop_string(place: int) -> None:
    """What a stop string cut off was never said."""
    model = engine()
    free = alone(row(), model)
    stop = VOCABULARY.decode(free[place : place + 3])
    kept = free[: VOCABULARY.decode(free).index(stop)]
    stopped = row(stop=(stop,), watch=Writer(VOCABULARY, (stop,)), wants_state=True)
    with batching() as (batcher, waiter):
        batcher.submit(model, [stopped])
        waiter.ended(stopped)
        assert stopped.finish_reason == "stop"
        assert stopped.context is not None
        whole = row(ids=[*PROMPT, *kept, 2], seed=9)
        went_on = row(
            ids=[*stopped.context.unread.tolist(), 2], state_S=torch.from_numpy(stopped.context.state_S), seed=9
        )
        batcher.submit(model, [whole, went_on])
        texts = waiter.ended(whole, went_on)
        assert texts[0] == texts[1]


def test_rows_that_share_a_prompt_read_it_once() -> None:
    model = engine()
    wanted = [alone(row(seed=seed), model) for seed in range(5)]
    lead, *others = [row(seed=seed) for seed in range(5)]
    lead.siblings = list(others)
    with batching() as (batcher, waiter):
        batcher.submit(model, [lead, *others])
        assert waiter.ended(lead, *others) == wanted
        assert (batcher.prefixes.num_misses, batcher.prefixes.num_hits, batcher.num_rows) == (1, 0, 0)


def test_scores_are_the_log_probabilities_that_the_network_gives() -> None:
    torch.manual_seed(5)
    network = RecurrentNetwork(ModelSpec(hidden_size=13, num_layers=1), vocabulary_size=11).eval()
    scored = row(num_top=3, scores_prompt=True, max_tokens=6)
    written = alone(scored, Engine(Stepper(network), "p", None))
    with torch.no_grad():
        logprobs = network(torch.tensor([PROMPT + written]))[0][0].log_softmax(1)
    targets = (PROMPT + written)[1:]
    found = [score.logprob for score in (*scored.prompt_scores, *scored.scores)]
    assert found == pytest.approx([float(logprobs[t, i]) for t, i in enumerate(targets)], abs=1e-5)
    best = logprobs[len(PROMPT) - 1].topk(3)
    assert [symbol for symbol, _ in scored.scores[0].top] == best.indices.tolist()


def test_more_rows_than_one_key_may_have_are_refused_all_or_none() -> None:
    model = engine()
    with batching(max_of_key=4) as (batcher, waiter):
        long = [row(key="a", seed=n, max_tokens=10_000) for n in range(3)]
        batcher.submit(model, long)
        with pytest.raises(TooManyRequests, match="this key has 3 texts in work; 2 more are over the 4"):
            batcher.submit(model, [row(key="a"), row(key="a")])
        assert batcher.num_rows == 3
        other = row(key="b")
        batcher.submit(model, [other])
        waiter.ended(other)
        batcher.cancel(long)
        waiter.until(lambda: batcher.num_rows == 0)
        batcher.submit(model, [row(key="a") for _ in range(4)])


def test_more_rows_than_can_be_held_are_refused() -> None:
    with batching(max_waiting=2) as (batcher, _):
        batcher.submit(engine(), [row(key="a", max_tokens=10_000), row(key="b", max_tokens=10_000)])
        with pytest.raises(Overloaded, match="2 texts are in work, 2 at most"):
            batcher.submit(engine(), [row(key="c")])


def test_row_whose_time_is_over_is_told_so() -> None:
    late = row(max_tokens=100_000, deadline=0.0)
    with batching() as (batcher, waiter):
        batcher.submit(engine(), [late])
        waiter.until(lambda: late.error is not None)
        assert isinstance(late.error, Overloaded)
        assert batcher.num_rows == 0


def test_model_that_fails_ends_its_own_rows_and_no_others() -> None:
    broken, sound = engine("broken"), engine("sound")
    victims = [row(ids=[*PROMPT, 11_000]), row(max_tokens=100_000)]  # an id that no symbol has
    fine = row()
    with batching() as (batcher, waiter):
        batcher.submit(sound, [fine])
        batcher.submit(broken, victims)
        waiter.until(lambda: all(victim.error is not None for victim in victims))
        waiter.ended(fine)
        again = row()
        batcher.submit(broken, [again])
        waiter.ended(again)


def test_closed_batcher_leaves_nobody_waiting() -> None:
    long = row(max_tokens=1_000_000)
    waiter = Waiter()
    batcher = Batcher(waiter)
    batcher.submit(engine(), [long])
    waiter.until(lambda: bool(long.written))
    batcher.close()
    assert isinstance(long.error, Overloaded)


class Ending(Row):
    """A row that can be seen to have ended only once all is there that goes with it."""

    def __setattr__(self, name: str, value: Any) -> None:
        assert name != "finish_reason" or value is None or self.context is not None
        super().__setattr__(name, value)


@pytest.mark.parametrize(("max_tokens", "stop"), [(0, ()), (9, ()), (900, ("a", "b"))])
def test_row_that_has_ended_has_the_state_that_was_wanted(max_tokens: int, stop: tuple[str, ...]) -> None:
    ending = Ending(
        key="k",
        ids=np.array(PROMPT),
        parameters=SamplingParameters(seed=1, max_tokens=max_tokens, stop=stop),
        watch=Writer(VOCABULARY, stop) if stop else None,
        wants_state=True,
    )
    alone(ending)
    assert ending.finish_reason == ("stop" if stop else "length")
