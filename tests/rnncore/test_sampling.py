"""From logits to symbols, and from symbols to a text that stops where it should."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnncore.continuation import continuation
from rnncore.network import RecurrentNetwork
from rnncore.sampling import Choices, SamplingParameters, log_probabilities
from rnncore.stepper import Batch, Reading, Stepper
from rnncore.vocabulary import BYTES, Vocabulary

LETTERS = Vocabulary(kind="characters", symbols="abcdefghijk")
LOGITS = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()


class Scripted(Stepper):
    """A stepper that makes one symbol after the other certain, and keeps what it was made to read."""

    def __init__(self, ids: list[int], size: int) -> None:
        self._ids = iter(ids)
        self.vocabulary_size = size
        self.state_size = 1
        self._device = torch.device("cpu")
        self.read_ids: list[int] = []

    def read(self, ids: Sequence[NDArray[np.int64]], states_BS: Tensor, *, every: bool = False) -> Reading:
        self.read_ids += ids[0].tolist()
        return Reading(self.next(), states_BS, None)

    def batch(self, capacity: int) -> "ScriptedBatch":
        return ScriptedBatch(self, capacity)

    def next(self) -> Tensor:
        logits_BV = torch.zeros(1, self.vocabulary_size)
        logits_BV[0, next(self._ids)] = 1000.0
        return logits_BV


class ScriptedBatch(Batch):
    """Its only row reads what the script says."""

    def __init__(self, stepper: Scripted, capacity: int) -> None:
        self._script = stepper
        self.capacity = capacity
        self.num_rows = 0

    def join(self, state_S: Tensor) -> int:
        self.num_rows += 1
        return 0

    def step(self, ids_B: Tensor) -> Tensor:
        self._script.read_ids += ids_B.tolist()
        return self._script.next()


def probabilities(logits_V: Tensor, parameters: SamplingParameters) -> Tensor:
    """The distribution that is drawn from, as one reads it: temperature, then `top_k`, then the nucleus."""
    if parameters.temperature < 1e-6:
        return torch.nn.functional.one_hot(logits_V.argmax(), logits_V.numel()).float()
    scaled = logits_V / parameters.temperature
    if parameters.top_k is not None and parameters.top_k < scaled.numel():
        least = scaled.topk(parameters.top_k).values[-1]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    p = scaled.softmax(dim=0)
    if parameters.top_p < 1:
        ordered, order = p.sort(descending=True)
        outside = ordered.cumsum(dim=0) - ordered >= parameters.top_p
        outside[0] = False
        p = p.index_fill(0, order[outside], 0.0)
        p = p / p.sum()
    return p


NUM_DRAWS = 4000


def distribution(logits_V: Tensor = LOGITS, **parameters: Any) -> Tensor:
    """How often each symbol is chosen."""
    choices = Choices(1, len(logits_V))
    choices.join(SamplingParameters(seed=1, **parameters))
    chosen = torch.cat([choices.choose(logits_V[None]) for _ in range(NUM_DRAWS)])
    return torch.bincount(chosen, minlength=len(logits_V)) / NUM_DRAWS


def check_frequencies(got_V: Tensor, expected_V: Tensor) -> None:
    """Four standard deviations; what has no probability never comes."""
    assert ((got_V - expected_V).abs() <= 4 * (expected_V * (1 - expected_V) / NUM_DRAWS).sqrt()).all()


def test_plain_distribution_is_the_softmax() -> None:
    check_frequencies(distribution(), LOGITS.exp())


def test_temperature_divides_the_logits() -> None:
    check_frequencies(distribution(temperature=0.5), LOGITS.exp() ** 2 / (LOGITS.exp() ** 2).sum())


@pytest.mark.parametrize("temperature", [0, 1e-300, 1e-6])
@pytest.mark.parametrize("others", [{}, {"top_k": 3}, {"top_p": 0.9}])
def test_temperature_next_to_zero_takes_the_likeliest(temperature: float, others: dict[str, Any]) -> None:
    assert distribution(temperature=temperature, **others).tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(("top_k", "kept"), [(1, 1), (2, 2), (5, 5), (99, 5), (None, 5)])
def test_top_k_keeps_the_likeliest_k(top_k: int | None, kept: int) -> None:
    expected = LOGITS.exp().clone()
    expected[kept:] = 0
    check_frequencies(distribution(top_k=top_k), expected / expected.sum())


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.0, 1), (0.3, 1), (0.49, 1), (0.51, 2), (0.69, 2), (0.71, 3), (0.84, 3), (0.96, 5), (1.0, 5)],
)
def test_nucleus_is_the_smallest_set_that_reaches_its_mass(top_p: float, kept: int) -> None:
    expected = LOGITS.exp().clone()
    expected[kept:] = 0
    check_frequencies(distribution(top_p=top_p), expected / expected.sum())


def test_nucleus_is_that_of_the_symbols_left_by_top_k() -> None:
    # Of 0.5 and 0.2 the first alone has 0.714 of the mass.
    assert distribution(top_k=2, top_p=0.71).tolist() == [1, 0, 0, 0, 0]
    assert distribution(top_p=0.71).count_nonzero() == 3


def test_nucleus_does_not_depend_on_the_order_of_symbols() -> None:
    shuffled = distribution(LOGITS[torch.tensor([3, 0, 4, 2, 1])], top_p=0.8)
    assert shuffled.nonzero().flatten().tolist() == [1, 3, 4]


def test_bias_is_added_to_the_logits() -> None:
    expected = (LOGITS + torch.tensor([0, 0, 2.5, -40, 0])).softmax(dim=0)
    check_frequencies(distribution(logit_bias=((3, -40.0), (2, 2.5))), expected)


def test_symbols_written_before_are_penalised_for_being_there_and_for_each_time() -> None:
    choices, logits_BV = Choices(1, 3), torch.tensor([[2.0, 1.0, 0.0]])
    choices.join(SamplingParameters(temperature=0, presence_penalty=0.7, frequency_penalty=0.4))
    # Of 2, 1, 0: 2 -> .9; 1 -> -.1; .9 -> .5; .5 -> .1; .1 -> -.3; 0 -> -1.1; -.1
    assert [int(choices.choose(logits_BV)) for _ in range(7)] == [0, 1, 0, 0, 0, 2, 1]


def test_prompt_is_not_penalised(stepper: Stepper) -> None:
    (first,) = text(stepper, [1], temperature=0, max_tokens=1)
    prompt = [1, *LETTERS.encode(first).tolist() * 3, 1]
    plain = text(stepper, prompt, temperature=0, max_tokens=1)
    assert text(stepper, prompt, temperature=0, max_tokens=1, presence_penalty=2.0, frequency_penalty=2.0) == plain


def test_banned_symbol_is_never_chosen() -> None:
    choices = Choices(1, 4, banned=[2])
    logits_BV = torch.tensor([[1.0, 2.0, 9.0, 1.5]])
    for parameters in (SamplingParameters(temperature=0), SamplingParameters(seed=1, logit_bias=((2, 100.0),))):
        choices.join(parameters)
        assert 2 not in [int(choices.choose(logits_BV)) for _ in range(100)]
        choices.leave(0)


def test_log_probabilities_are_of_the_network_s_own_distribution() -> None:
    logits_BV = torch.randn(5, 11, generator=torch.Generator().manual_seed(1)) * 5
    torch.testing.assert_close(log_probabilities(logits_BV), logits_BV.log_softmax(dim=1))
    assert torch.equal(log_probabilities(logits_BV)[3:4], log_probabilities(logits_BV[3:4]))


# Many rows


def random_parameters(count: int) -> list[SamplingParameters]:
    draws = np.random.default_rng(3)
    return [
        SamplingParameters(
            temperature=float(draws.choice([0.0, 0.3, 1.0, 1.7])),
            top_k=[None, 1, 3, 6, 20][int(draws.integers(5))],
            top_p=float(draws.choice([0.0, 0.5, 0.9, 1.0])),
            seed=row,
            logit_bias=((int(draws.integers(11)), 1.5),) if row % 3 == 0 else (),
            presence_penalty=0.5 * (row % 2),
            frequency_penalty=0.3 * (row % 5 == 0),
        )
        for row in range(count)
    ]


def test_rows_choose_by_their_own_parameters_and_draws() -> None:
    parameters = random_parameters(200)
    logits_BV = torch.randn(200, 11, generator=torch.Generator().manual_seed(2)) * 2
    choices = Choices(200, 11)
    for one in parameters:
        choices.join(one)
    for row, (chosen, one) in enumerate(zip(choices.choose(logits_BV).tolist(), parameters, strict=True)):
        logits_V = logits_BV[row].clone()
        for symbol, bias in one.logit_bias:
            logits_V[symbol] += bias
        mass_V = probabilities(logits_V, one).double().cumsum(dim=0)
        draw = np.random.Generator(np.random.Philox(key=one.seed)).random()
        assert chosen == int((mass_V <= draw * mass_V[-1]).sum())


def written_by_rows(parameters: list[SamplingParameters], steps: int, company: list[int]) -> dict[int, list[int]]:
    """What the rows of `company` choose; the logits follow from what each chose before."""
    table_VV = torch.randn(11, 11, generator=torch.Generator().manual_seed(2)) * 2
    choices, ids_B = Choices(len(company), 11), torch.zeros(len(company), dtype=torch.int64)
    for row in company:
        choices.join(parameters[row])
    written: dict[int, list[int]] = {row: [] for row in company}
    for _ in range(steps):
        ids_B = choices.choose(table_VV[ids_B])
        for row, chosen in zip(company, ids_B.tolist(), strict=True):
            written[row].append(chosen)
    return written


def test_company_and_place_change_no_choice() -> None:
    parameters = random_parameters(64)
    together = written_by_rows(parameters, 150, list(range(64)))
    for company in ([0], [1], [2], [63], [5, 4, 9], list(reversed(range(64))), list(range(0, 64, 7))):
        for row, ids in written_by_rows(parameters, 150, company).items():
            assert ids == together[row]


@pytest.mark.parametrize("size", [5, 65, 97, 256])
def test_draws_follow_the_bits_of_the_logits_alone(size: int) -> None:
    logits_V = torch.randn(size, generator=torch.Generator().manual_seed(2)) * 3
    for num_rows in (1, 2, 7, 64):
        choices = Choices(num_rows, size)
        for row in range(num_rows):
            choices.join(SamplingParameters(seed=8, top_p=0.97 if row % 2 else 1.0, top_k=size - 1))
        for of_rows in [choices.choose(logits_V.expand(num_rows, -1)) for _ in range(70)]:
            assert len(set(of_rows[::2].tolist())) == 1
            assert len(set(of_rows[1::2].tolist())) <= 1


def test_row_that_leaves_is_replaced_by_the_last() -> None:
    parameters = random_parameters(4)
    expected = written_by_rows(parameters, 20, [0, 1, 2, 3])
    table_VV = torch.randn(11, 11, generator=torch.Generator().manual_seed(2)) * 2
    choices, rows = Choices(4, 11), [0, 1, 2, 3]
    for row in rows:
        choices.join(parameters[row])
    written: dict[int, list[int]] = {row: [] for row in rows}
    for step in range(20):
        if step == 6:
            choices.leave(1)
            rows = [0, 3, 2]
        if step == 12:
            choices.join(parameters[1], written[1])
            rows.append(1)
        ids_B = choices.choose(table_VV[torch.tensor([(written[row] or [0])[-1] for row in rows])])
        for row, chosen in zip(rows, ids_B.tolist(), strict=True):
            written[row].append(chosen)
    assert {row: ids == expected[row][: len(ids)] for row, ids in written.items()} == dict.fromkeys(range(4), True)
    assert [len(written[row]) for row in range(4)] == [20, 14, 20, 20]


@pytest.mark.parametrize("num_written", [1, 63, 64, 65, 200])
def test_row_goes_on_where_it_left(num_written: int) -> None:
    parameters = SamplingParameters(seed=4, presence_penalty=0.5, frequency_penalty=0.2)
    logits_BV = torch.randn(1, 11, generator=torch.Generator().manual_seed(2))
    whole, parted = Choices(1, 11), Choices(1, 11)
    whole.join(parameters)
    ids = [int(whole.choose(logits_BV)) for _ in range(num_written + 70)]
    parted.join(parameters, ids[:num_written])
    assert [int(parted.choose(logits_BV)) for _ in range(70)] == ids[num_written:]


def test_full_choices_take_no_further_row() -> None:
    choices = Choices(1, 11)
    choices.join(SamplingParameters())
    with pytest.raises(ValueError, match=r"choices are full at capacity=1; wait until a row leaves"):
        choices.join(SamplingParameters())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_still_choose_a_symbol(temperature: float) -> None:
    choices = Choices(1, 11)
    choices.join(SamplingParameters(temperature=temperature))
    assert 0 <= int(choices.choose(torch.full((1, 11), torch.nan))) < 11


# Texts


@pytest.fixture
def stepper(make_network: Callable[..., RecurrentNetwork]) -> Stepper:
    return Stepper(make_network())


def text(stepper: Stepper, prompt: list[int], vocabulary: Vocabulary = LETTERS, **parameters: Any) -> str:
    return continuation(stepper, vocabulary, prompt, SamplingParameters(**parameters))


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
    expected = stepper.read([np.array([3])], stepper.zero_state(1)).logits_BV[0].softmax(dim=0)
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
    continuation(stepper, vocabulary, [], SamplingParameters(max_tokens=1))
    assert stepper.read_ids == read


def test_each_symbol_is_read_once_and_the_last_not_at_all() -> None:
    stepper = Scripted([5, 6, 7], 11)
    continuation(stepper, LETTERS, [1, 2], SamplingParameters(max_tokens=3))
    assert stepper.read_ids == [1, 2, 5, 6]


def test_nothing_is_written_for_no_tokens() -> None:
    stepper = Scripted([5], 11)
    assert continuation(stepper, LETTERS, [1], SamplingParameters(max_tokens=0)) == ""
    assert stepper.read_ids == []


def test_text_ends_before_the_stop_string_and_nothing_is_computed_beyond_it() -> None:
    stepper = Scripted([0, 1, 2, 3], 11)
    assert continuation(stepper, LETTERS, [1], SamplingParameters(max_tokens=1000, stop=("c",))) == "ab"
    assert stepper.read_ids == [1, 0, 1]


def test_held_back_beginning_of_a_stop_string_is_part_of_a_text_that_ends_there() -> None:
    ids = LETTERS.encode("abcd").tolist()
    assert continuation(Scripted(ids, 11), LETTERS, [1], SamplingParameters(max_tokens=4, stop=("cde",))) == "abcd"


def test_sequence_of_bytes_that_the_limit_cuts_is_shown_as_a_replacement() -> None:
    ids = list("a한".encode())
    found = continuation(Scripted(ids, 256), BYTES, [1], SamplingParameters(max_tokens=3))
    assert found == "a\N{REPLACEMENT CHARACTER}"
