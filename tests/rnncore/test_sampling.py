"""From logits to symbols, and from symbols to a text that stops where it should."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from rnncore.network import RecurrentNetwork
from rnncore.sampling import Piece, SamplingParameters, generate, probabilities
from rnncore.state import State
from rnncore.stepper import Stepper
from rnncore.vocabulary import BYTES, Vocabulary

LETTERS = Vocabulary(kind="characters", symbols="abcdefghijk")
LOGITS = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()


class Scripted(Stepper):
    """A stepper that makes one symbol after the other certain, and keeps what it was made to read."""

    def __init__(self, ids: list[int], size: int) -> None:
        self._ids = iter(ids)
        self._size = size
        self.read_ids: list[int] = []

    def read(self, ids_BT: Tensor, state: State = None) -> tuple[Tensor, State]:
        self.read_ids += ids_BT[0].tolist()
        return self._next(), state

    def step(self, ids_B: Tensor, state: State) -> tuple[Tensor, State]:
        return self.read(ids_B[None], state)

    def _next(self) -> Tensor:
        logits_BV = torch.zeros(1, self._size)
        logits_BV[0, next(self._ids)] = 1000.0
        return logits_BV


def written(text: str, vocabulary: Vocabulary = LETTERS, **parameters: Any) -> list[Piece]:
    """The pieces of a network that will write `text`, whatever the prompt."""
    ids = vocabulary.encode(text).tolist()
    asked = SamplingParameters(**{"max_tokens": len(ids)} | parameters)
    return list(generate(Scripted(ids, vocabulary.size), vocabulary, [0], asked))


def distribution(**parameters: Any) -> Tensor:
    return probabilities(LOGITS, SamplingParameters(**parameters))


def test_plain_distribution_is_the_softmax() -> None:
    torch.testing.assert_close(distribution(), LOGITS.exp())


def test_temperature_divides_the_logits() -> None:
    torch.testing.assert_close(distribution(temperature=0.5), LOGITS.exp() ** 2 / (LOGITS.exp() ** 2).sum())


@pytest.mark.parametrize("temperature", [0, 1e-300, 1e-6])
@pytest.mark.parametrize("others", [{}, {"top_k": 3}, {"top_p": 0.9}])
def test_temperature_next_to_zero_takes_the_likeliest(temperature: float, others: dict[str, Any]) -> None:
    assert distribution(temperature=temperature, **others).tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(("top_k", "kept"), [(1, 1), (2, 2), (5, 5), (99, 5), (None, 5)])
def test_top_k_keeps_the_likeliest_k(top_k: int | None, kept: int) -> None:
    expected = LOGITS.exp().clone()
    expected[kept:] = 0
    torch.testing.assert_close(distribution(top_k=top_k), expected / expected.sum())


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.0, 1), (0.3, 1), (0.49, 1), (0.51, 2), (0.69, 2), (0.71, 3), (0.84, 3), (0.96, 5), (1.0, 5)],
)
def test_nucleus_is_the_smallest_set_that_reaches_its_mass(top_p: float, kept: int) -> None:
    expected = LOGITS.exp().clone()
    expected[kept:] = 0
    torch.testing.assert_close(distribution(top_p=top_p), expected / expected.sum())


def test_nucleus_is_that_of_the_symbols_left_by_top_k() -> None:
    # Of 0.5 and 0.2 the first alone has 0.714 of the mass.
    assert distribution(top_k=2, top_p=0.71).tolist() == [1, 0, 0, 0, 0]
    assert distribution(top_p=0.71).count_nonzero() == 3


def test_nucleus_does_not_depend_on_the_order_of_symbols() -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = probabilities(LOGITS[order], SamplingParameters(top_p=0.8))
    torch.testing.assert_close(shuffled, distribution(top_p=0.8)[order])


@pytest.fixture
def stepper(make_network: Callable[..., RecurrentNetwork]) -> Stepper:
    return Stepper(make_network())


def text(stepper: Stepper, prompt: list[int], vocabulary: Vocabulary = LETTERS, **parameters: Any) -> str:
    return "".join(piece.text for piece in generate(stepper, vocabulary, prompt, SamplingParameters(**parameters)))


def test_greedy_text_follows_the_network(stepper: Stepper, make_network: Callable[..., RecurrentNetwork]) -> None:
    network, ids = make_network(), [2, 0, 1]
    with torch.no_grad():
        for _ in range(13):
            ids.append(int(network(torch.tensor([ids]))[0][0, -1].argmax()))
    assert text(stepper, [2, 0, 1], temperature=0, max_tokens=13) == LETTERS.decode(ids[3:])


def test_seed_repeats_the_text_and_leaves_the_global_generator(stepper: Stepper) -> None:
    before = torch.get_rng_state()
    one, same, other = (text(stepper, [1], seed=seed, max_tokens=40) for seed in (5, 5, 6))
    assert one == same
    assert one != other
    assert torch.equal(torch.get_rng_state(), before)


def test_texts_without_a_seed_differ(stepper: Stepper) -> None:
    assert text(stepper, [1], max_tokens=40) != text(stepper, [1], max_tokens=40)


def test_symbols_come_as_often_as_their_probability_says(stepper: Stepper) -> None:
    with torch.no_grad():
        expected = stepper.read(torch.tensor([[3]]))[0][0].softmax(dim=0)
    counts = torch.zeros(11)
    for seed in range(1000):
        counts[LETTERS.encode(text(stepper, [3], seed=seed, max_tokens=1))[0]] += 1
    assert (counts / 1000 - expected).abs().max() < 0.05


def test_unknown_symbol_is_never_written(make_network: Callable[..., RecurrentNetwork]) -> None:
    network = make_network()
    with torch.no_grad():
        network.output.bias[10] = 50.0
    known = Vocabulary(kind="characters", symbols="abcdefghij", unknown=True)
    for temperature in (0.0, 1.0):
        written_text = text(Stepper(network), [10, 1], known, temperature=temperature, max_tokens=100, seed=1)
        assert len(written_text) == 100
        assert set(written_text) <= set(known.symbols)


@pytest.mark.parametrize(
    ("vocabulary", "read"),
    [
        (Vocabulary(kind="characters", symbols="ab\nc"), [2]),
        (Vocabulary(kind="characters", symbols="ab\n\f"), [3]),
        (LETTERS, [0]),
        (BYTES, [10]),
    ],
)
def test_empty_prompt_starts_as_a_document_does_or_after_a_line_break(vocabulary: Vocabulary, read: list[int]) -> None:
    stepper = Scripted([1], vocabulary.size)
    list(generate(stepper, vocabulary, [], SamplingParameters(max_tokens=1)))
    assert stepper.read_ids == read


def test_each_symbol_is_read_once_and_the_last_not_at_all() -> None:
    stepper = Scripted([5, 6, 7], 11)
    list(generate(stepper, LETTERS, [1, 2], SamplingParameters(max_tokens=3)))
    assert stepper.read_ids == [1, 2, 5, 6]


def test_each_symbol_is_shown_as_it_comes() -> None:
    assert written("bad") == [Piece("b", 1), Piece("a", 1), Piece("d", 1, "length")]


def test_nothing_is_written_for_no_tokens() -> None:
    assert written("bad", max_tokens=0) == [Piece("", 0, "length")]


def test_text_ends_before_the_stop_string() -> None:
    assert written("abcdefg", stop=("de",)) == [
        Piece("a", 1),
        Piece("b", 1),
        Piece("c", 1),
        Piece("", 1),
        Piece("", 1, "stop"),
    ]


def test_beginning_of_a_stop_string_is_shown_once_it_turns_out_to_be_none() -> None:
    pieces = written("abababc", stop=("ababc",))
    assert [piece.text for piece in pieces] == ["", "", "", "", "ab", "", ""]
    assert pieces[-1] == Piece("", 1, "stop")


def test_held_back_beginning_is_shown_at_the_end_of_the_text() -> None:
    assert written("abcd", stop=("cde",)) == [Piece("a", 1), Piece("b", 1), Piece("", 1), Piece("cd", 1, "length")]


def test_first_stop_string_in_the_text_wins() -> None:
    pieces = written("abcdefg", stop=("ef", "cd", "zz"))
    assert "".join(piece.text for piece in pieces) == "ab"
    assert pieces[-1].finish_reason == "stop"


def test_stop_string_may_end_with_the_last_token() -> None:
    assert written("abc", stop=("bc",))[-1] == Piece("", 1, "stop")


@pytest.mark.parametrize(("stop", "num_tokens"), [((), 7), (("k",), 7), (("cd", "fg"), 4), (("efgh",), 7)])
def test_pieces_count_every_token_written(stop: tuple[str, ...], num_tokens: int) -> None:
    assert sum(piece.num_tokens for piece in written("abcdefg", stop=stop)) == num_tokens


def test_bytes_of_one_sequence_are_shown_together() -> None:
    assert written("a한b", BYTES) == [
        Piece("a", 1),
        Piece("", 1),
        Piece("", 1),
        Piece("한", 1),
        Piece("b", 1, "length"),
    ]


def test_sequence_cut_by_the_limit_costs_no_further_token() -> None:
    pieces = written("a한", BYTES, max_tokens=3)
    assert "".join(piece.text for piece in pieces) == "a\N{REPLACEMENT CHARACTER}"
    assert sum(piece.num_tokens for piece in pieces) == 3
    assert [piece.finish_reason for piece in pieces][-1] == "length"


def test_stop_string_of_many_bytes_is_found_in_byte_mode() -> None:
    pieces = written("a한b", BYTES, stop=("한",))
    assert "".join(piece.text for piece in pieces) == "a"
    assert (pieces[-1].finish_reason, sum(piece.num_tokens for piece in pieces)) == ("stop", 4)


def test_nothing_is_computed_beyond_what_was_asked_for() -> None:
    def pieces(stepper: Stepper) -> Iterator[Piece]:
        return generate(stepper, LETTERS, [1], SamplingParameters(max_tokens=1000, stop=("c",)))

    stepper = Scripted([0, 1, 2, 3], 11)
    assert "".join(piece.text for piece in pieces(stepper)) == "ab"
    assert stepper.read_ids == [1, 0, 1]
