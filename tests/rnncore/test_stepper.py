"""The engine under sampling gives what the network gives, and a row the same bits in every company.

Shapes: B rows, T 5, S flat state, V 11.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnncore import products
from rnncore.network import RecurrentNetwork
from rnncore.sampling import Choices, SamplingParameters
from rnncore.spec import Cell
from rnncore.stepper import Batch, Precision, Stepper

MakeNetwork = Callable[..., RecurrentNetwork]
Ids = NDArray[np.int64]

BOUNDARY = 4
PRECISIONS: list[Precision] = ["fp32", "bf16", *(["int8"] if torch.cpu._is_vnni_supported() else [])]
NEEDS_VNNI = pytest.mark.skipif("int8" not in PRECISIONS, reason="int8 needs a CPU with AVX-512 VNNI")
CELLS: list[dict[str, Any]] = [
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]


def texts(*lengths: int) -> list[Ids]:
    """Random symbols, boundaries among them."""
    draws = np.random.default_rng(4)
    return [draws.integers(0, 11, size=length) for length in lengths]


def network_of(make_network: MakeNetwork, **fields: Any) -> RecurrentNetwork:
    network = make_network(**fields)
    network.boundary_id = BOUNDARY
    return network


def initial(network: RecurrentNetwork) -> RecurrentNetwork:
    """Of the same model, with the weights that training begins with."""
    return RecurrentNetwork(network.model, vocabulary_size=11, boundary_id=network.boundary_id).eval()


def flat(state: Any) -> Tensor:
    """A state of the network as states_BS."""
    h_LBH = torch.cat(state) if isinstance(state, tuple) else state
    return h_LBH.transpose(0, 1).flatten(1)


def joined(stepper: Stepper, states_BS: Tensor, capacity: int | None = None) -> Batch:
    batch = stepper.batch(capacity or len(states_BS))
    for state_S in states_BS:
        batch.join(state_S)
    return batch


def stepped(stepper: Stepper, rows: Sequence[Ids]) -> tuple[list[Tensor], Tensor]:
    """Logits_TV of each row from single steps in one batch, and states_BS at the end; rows are equally long."""
    batch = joined(stepper, stepper.zero_state(len(rows)))
    logits = [batch.step(torch.from_numpy(ids_B)).clone() for ids_B in np.stack(rows, axis=1)]
    states = torch.stack([batch.state(row) for row in range(len(rows))])
    return list(torch.stack(logits, dim=1)), states


@pytest.mark.parametrize("hidden_size", [7, 200])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("fields", CELLS, ids=str)
@torch.no_grad()
def test_steps_and_readings_equal_the_network(
    make_network: MakeNetwork, fields: dict[str, Any], num_layers: int, hidden_size: int
) -> None:
    network = network_of(make_network, num_layers=num_layers, hidden_size=hidden_size, **fields)
    if hidden_size == 200:  # large enough for oneDNN; the fixture's weights are too large for so many units
        network = initial(network)
    stepper, rows = Stepper(network), texts(5, 5, 5)
    expected_BTV, expected_state = network(torch.from_numpy(np.stack(rows)))
    reading = stepper.read(rows, stepper.zero_state(3), every=True)
    logits, states_BS = stepped(stepper, rows)
    assert reading.every is not None
    for got in (reading.every, logits):
        torch.testing.assert_close(torch.stack(got), expected_BTV, rtol=0, atol=1e-5)
    for got_BS in (reading.states_BS, states_BS):
        torch.testing.assert_close(got_BS, flat(expected_state), rtol=0, atol=1e-5)


@torch.no_grad()
def test_steps_equal_the_network_with_tied_weights(make_network: MakeNetwork) -> None:
    network = make_network(embedding_size=7, tie_weights=True)
    (ids,) = texts(5)
    logits, _ = stepped(Stepper(network), [ids])
    torch.testing.assert_close(logits[0], network(torch.from_numpy(ids)[None])[0][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "most"), [("bf16", 0.02), pytest.param("int8", 0.06, marks=NEEDS_VNNI)])
@pytest.mark.parametrize("fields", CELLS, ids=str)
def test_precision_rounds_the_products_of_large_layers_alone(
    make_network: MakeNetwork, fields: dict[str, Any], precision: Precision, most: float
) -> None:
    rows = texts(5, 5)
    for hidden_size, least, largest in ((7, 0.0, 0.0), (200, 1e-6, most)):
        network = initial(make_network(hidden_size=hidden_size, **fields))
        exact, rounded = (stepped(Stepper(network, precision=p), rows)[1] for p in ("fp32", precision))
        assert least <= (exact - rounded).abs().max() <= largest


def test_dropout_is_of_training_alone(make_network: MakeNetwork) -> None:
    network = make_network(dropout=0.5).train()
    stepper, rows = Stepper(network), texts(5)
    assert torch.equal(stepped(stepper, rows)[0][0], stepped(stepper, rows)[0][0])
    assert network.training


def test_state_given_to_a_reading_or_a_batch_stays_as_it_is(make_network: MakeNetwork) -> None:
    stepper = Stepper(make_network())
    states_BS = torch.randn(2, stepper.state_size)
    before = states_BS.clone()
    stepper.read(texts(3, 2), states_BS)
    joined(stepper, states_BS).step(torch.tensor([1, 2]))
    assert torch.equal(states_BS, before)


def test_sizes_are_told(make_network: MakeNetwork) -> None:
    assert [Stepper(make_network(cell=cell, num_layers=3)).state_size for cell in ("rnn", "lstm", "gru")] == [
        21,
        42,
        21,
    ]
    stepper = Stepper(make_network(hidden_size=200))
    assert stepper.vocabulary_size == 11
    assert stepper.zero_state(3).shape == (3, 800)
    bytes_of = {p: Stepper(make_network(hidden_size=200), precision=p).num_bytes for p in PRECISIONS}
    assert bytes_of["int8"] < 0.6 * bytes_of["bf16"] < 0.36 * bytes_of["fp32"]


@pytest.mark.parametrize("cut", [1, 2, 4])
@pytest.mark.parametrize("fields", CELLS, ids=str)
def test_reading_may_be_cut_anywhere(make_network: MakeNetwork, fields: dict[str, Any], cut: int) -> None:
    stepper, rows = Stepper(network_of(make_network, **fields)), texts(5, 9)
    whole = stepper.read(rows, stepper.zero_state(2))
    begun = stepper.read([row[:cut] for row in rows], stepper.zero_state(2))
    cut_up = stepper.read([row[cut:] for row in rows], begun.states_BS)
    assert torch.equal(cut_up.logits_BV, whole.logits_BV)
    assert torch.equal(cut_up.states_BS, whole.states_BS)


def test_long_texts_are_read_in_pieces_of_bounded_memory(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepper, rows = Stepper(network_of(make_network)), texts(17, 3, 40, 40, 1)
    whole = stepper.read(rows, stepper.zero_state(5), every=True)
    monkeypatch.setattr("rnncore.reading._SYMBOLS_AT_ONCE", 20)
    pieces = stepper.read(rows, stepper.zero_state(5), every=True)
    assert torch.equal(pieces.states_BS, whole.states_BS)
    assert pieces.every is not None
    assert whole.every is not None
    assert [len(of_row) for of_row in pieces.every] == [17, 3, 40, 40, 1]
    assert all(torch.equal(a, b) for a, b in zip(pieces.every, whole.every, strict=True))


def test_row_that_leaves_is_replaced_by_the_last(make_network: MakeNetwork) -> None:
    stepper = Stepper(make_network())
    states_BS = torch.randn(4, stepper.state_size)
    batch = joined(stepper, states_BS, capacity=5)
    batch.leave(1)
    assert batch.num_rows == 3
    assert [torch.equal(batch.state(row), states_BS[was]) for row, was in enumerate((0, 3, 2))] == [True] * 3
    assert batch.join(states_BS[1]) == 3
    batch.leave(3)
    batch.leave(0)
    assert [torch.equal(batch.state(row), states_BS[was]) for row, was in enumerate((2, 3))] == [True] * 2


def test_full_batch_takes_no_further_row(make_network: MakeNetwork) -> None:
    stepper = Stepper(make_network())
    batch = joined(stepper, stepper.zero_state(3))
    with pytest.raises(ValueError, match=r"batch is full at capacity=3; wait until a row leaves"):
        batch.join(stepper.zero_state(1)[0])


@pytest.mark.parametrize("fields", CELLS, ids=str)
def test_selected_rows_go_on_from_the_states_they_had(make_network: MakeNetwork, fields: dict[str, Any]) -> None:
    stepper, rows = Stepper(network_of(make_network, **fields)), [2, 0, 2, 2, 1]
    states_BS = torch.randn(4, stepper.state_size)
    batch = joined(stepper, states_BS, capacity=6)
    batch.select(rows)
    assert batch.num_rows == 5
    expected_BV = joined(stepper, states_BS[rows]).step(torch.tensor([7, 1, 8, 2, 0]))
    assert torch.equal(batch.step(torch.tensor([7, 1, 8, 2, 0])), expected_BV)
    batch.select([])
    assert batch.num_rows == 0


def test_batch_selects_no_more_rows_than_it_has_room_for(make_network: MakeNetwork) -> None:
    stepper = Stepper(make_network())
    batch = joined(stepper, stepper.zero_state(3))
    with pytest.raises(ValueError, match=r"4 rows are over capacity=3; select fewer"):
        batch.select([0, 1, 2, 2])


# The bits of a row


def companies(stepper: Stepper, ids: Ids) -> Iterator[Tensor]:
    """Logits_TV of one text, in batches of many sizes and at many places."""
    draws = np.random.default_rng(9)
    for num_rows in (1, 2, 3, 7, 64, 65, 131):
        for place in {0, num_rows // 2, num_rows - 1}:
            rows = draws.integers(0, 11, size=(num_rows, len(ids)))
            rows[place] = ids
            batch = joined(stepper, torch.from_numpy(draws.normal(size=(num_rows, stepper.state_size))).float())
            batch.leave(place)
            batch.join(stepper.zero_state(1)[0])
            rows[[place, -1]] = rows[[-1, place]]
            yield torch.stack([batch.step(torch.from_numpy(ids_B))[-1].clone() for ids_B in rows.T])


@pytest.mark.parametrize("sizes", [None, (8,), (1,)], ids=["agreed", "eight", "one"])
@pytest.mark.parametrize(
    ("hidden_size", "precision"), [(7, "fp32"), (45, "fp32"), *product([200], PRECISIONS)], ids=str
)
@pytest.mark.parametrize("fields", CELLS, ids=str)
def test_company_and_place_change_no_bit_whatever_sizes_agree(
    make_network: MakeNetwork,
    fields: dict[str, Any],
    hidden_size: int,
    precision: Precision,
    sizes: tuple[int, ...] | None,
) -> None:
    stepper = Stepper(network_of(make_network, hidden_size=hidden_size, **fields), precision=precision)
    if sizes:  # as on a machine with other kernels
        stepper._packed.sizes = sizes
    (ids,) = texts(6)
    reading = stepper.read([ids, *texts(3, 20, 7)], stepper.zero_state(4), every=True)
    assert reading.every is not None
    for logits_TV in companies(stepper, ids):
        assert torch.equal(logits_TV, reading.every[0])


class AddsBackwards(products.Product):
    """Adds the other way round where there is only a row or two, as kernels for few rows may."""

    def __call__(self, x_BK: Tensor, plus: Tensor, out_BN: Tensor) -> Tensor:
        weight_KN = self._weight.flip(0) if len(x_BK) < 3 else self._weight
        x_BK = x_BK.flip(1) if len(x_BK) < 3 else x_BK
        out_BN.copy_(plus.expand_as(out_BN))
        for x_B, weight_N in zip(x_BK.T, weight_KN, strict=True):
            out_BN += x_B[:, None] * weight_N
        return out_BN


class TreatsPlacesApart(products.Product):
    """Rounds the first row in another way than the others."""

    def __call__(self, x_BK: Tensor, plus: Tensor, out_BN: Tensor) -> Tensor:
        super().__call__(x_BK, plus, out_BN)[1:] *= 1 + 1e-6
        return out_BN


@pytest.mark.parametrize(
    ("kind", "sizes"), [(AddsBackwards, products.SIZES[3:]), (TreatsPlacesApart, (1,))], ids=lambda value: str(value)
)
def test_sizes_whose_kernels_disagree_are_not_used(kind: type[products.Product], sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    assert products.agreed_sizes([kind(torch.randn(32, 64), precision="fp32", by_onednn=False)]) == sizes


@pytest.mark.parametrize(("num_rows", "room"), [(0, 0), (1, 1), (5, 6), (64, 64), (65, 65), (133, 134), (300, 304)])
def test_blocks_cover_the_rows_with_little_padding(num_rows: int, room: int) -> None:
    found = list(products.blocks(num_rows, products.SIZES))
    assert [row for start, _, used in found for row in range(start, start + used)] == list(range(num_rows))
    assert all(used <= size <= max(2 * used - 1, 1) for _, size, used in found)
    assert products.padded(num_rows, products.SIZES) == room


# Over many steps, fed back with its own choices


def written(stepper: Stepper, num_steps: int, *, num_rows: int, place: int) -> tuple[list[int], Tensor, Tensor]:
    """What the row at `place` writes among others: its symbols, its last logits and its state."""
    parameters = SamplingParameters(temperature=0.8, top_p=0.95, frequency_penalty=0.01)
    batch = joined(stepper, stepper.zero_state(num_rows))
    choices = Choices(num_rows, stepper.vocabulary_size)
    for row in range(num_rows):
        choices.join(parameters._replace(seed=1 if row == place else 100 + row))
    ids_B, ids = torch.full((num_rows,), 3), []
    for _ in range(num_steps):
        logits_BV = batch.step(ids_B)
        ids_B = choices.choose(logits_BV)
        ids.append(int(ids_B[place]))
    return ids, logits_BV[place].clone(), batch.state(place)


def check_long(stepper: Stepper, num_steps: int, companies: Sequence[tuple[int, int]]) -> None:
    """Alone, in each company, and read at once."""
    ids, logits_V, state_S = written(stepper, num_steps, num_rows=1, place=0)
    reading = stepper.read([np.array([3, *ids[:-1]])], stepper.zero_state(1))
    found = [written(stepper, num_steps, num_rows=num_rows, place=place) for num_rows, place in companies]
    for other_ids, other_V, other_S in [*found, (ids, reading.logits_BV[0], reading.states_BS[0])]:
        assert other_ids == ids
        assert torch.equal(other_V, logits_V)
        assert torch.equal(other_S, state_S)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_text_is_the_same_over_10_000_steps(make_network: MakeNetwork, cell: Cell) -> None:
    check_long(Stepper(network_of(make_network, cell=cell, hidden_size=13)), 10_000, [(7, 5)])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_text_of_a_large_network_is_the_same(make_network: MakeNetwork, precision: Precision) -> None:
    stepper = Stepper(network_of(make_network, hidden_size=512), precision=precision)
    check_long(stepper, 100, [(2, 1), (7, 3), (64, 40)])


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("fields", "hidden_size", "precision"),
    [(f, h, p) for f, h, p in product(CELLS, (45, 128, 512), PRECISIONS) if p == "fp32" or h == 512],
    ids=str,
)
def test_text_is_the_same_over_10_000_steps_at_every_size(
    make_network: MakeNetwork, fields: dict[str, Any], hidden_size: int, precision: Precision
) -> None:
    stepper = Stepper(network_of(make_network, hidden_size=hidden_size, **fields), precision=precision)
    check_long(stepper, 10_000, [(2, 1), (7, 4), (64, 63)])
    check_long(stepper, 300, [(512, 511)])
