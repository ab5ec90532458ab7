"""A text cut into windows of contiguous streams. Sizes: B 3, T 5; 38 symbols make streams of 12, windows of 5, 5, 2."""

from itertools import islice

import numpy as np
import pytest
import torch

from rnncore.streams import Streams, Window

TEXT = np.arange(38, dtype=np.uint8)


def streams(first: int = 0, ids: np.ndarray = TEXT, **changes: int) -> Streams:
    return Streams(ids, **{"batch_size": 3, "tbptt_steps": 5, "tbptt_stride": 5, "first": first} | changes)


def equal(one: Window, other: Window) -> bool:
    return (
        torch.equal(one.inputs_BT, other.inputs_BT)
        and torch.equal(one.targets_BN, other.targets_BN)
        and one.starts == other.starts
        and one.advance == other.advance
    )


def test_first_windows_are_these() -> None:
    windows = list(islice(streams(), 3))
    assert [window.inputs_BT.tolist() for window in windows] == [
        [[0, 1, 2, 3, 4], [12, 13, 14, 15, 16], [24, 25, 26, 27, 28]],
        [[5, 6, 7, 8, 9], [17, 18, 19, 20, 21], [29, 30, 31, 32, 33]],
        [[10, 11], [22, 23], [34, 35]],
    ]
    assert [window.inputs_BT.dtype for window in windows] == [torch.int64] * 3


def test_each_row_goes_on_where_it_ended_in_the_window_before() -> None:
    for before, after in zip(islice(streams(), 2), islice(streams(), 1, 3), strict=True):
        assert after.inputs_BT[:, 0].tolist() == before.targets_BN[:, -1].tolist()


def test_targets_are_the_inputs_one_symbol_later() -> None:
    for window in islice(streams(), 4):
        assert torch.equal(window.targets_BN, window.inputs_BT + 1)


@pytest.mark.parametrize("num_symbols", [16, 17, 37, 38, 39, 40])
def test_every_symbol_is_a_target_once_an_epoch_but_for_the_remainder(num_symbols: int) -> None:
    one = streams(ids=np.arange(num_symbols, dtype=np.uint16))
    targets = [int(t) for window in islice(one, one.windows_per_epoch) for t in window.targets_BN.flatten()]
    assert sorted(targets) == list(range(1, (num_symbols - 1) // 3 * 3 + 1))


@pytest.mark.parametrize(("num_symbols", "lengths"), [(34, [5, 5, 1]), (37, [5, 5, 2]), (46, [5, 5, 5]), (16, [5])])
def test_last_window_of_an_epoch_has_whatever_is_left(num_symbols: int, lengths: list[int]) -> None:
    one = streams(ids=np.arange(num_symbols, dtype=np.uint8))
    assert one.windows_per_epoch == len(lengths)
    assert [window.inputs_BT.shape for window in islice(one, len(lengths))] == [(3, length) for length in lengths]


def test_streams_start_again_with_each_epoch_and_not_within() -> None:
    windows = list(islice(streams(), 7))
    assert [window.starts for window in windows] == [True, False, False, True, False, False, True]
    assert all(equal(one, other) for one, other in zip(windows[:4], windows[3:], strict=True))


@pytest.mark.parametrize("first", [0, 1, 2, 3, 7])
def test_windows_from_the_middle_equal_those_of_the_whole_run(first: int) -> None:
    whole = list(islice(streams(), first + 4))
    for number, window in enumerate(islice(streams(first), 4), start=first):
        assert equal(window, whole[number])
        assert equal(window, streams().window(number))


def test_windows_of_a_stride_are_these() -> None:
    windows = list(islice(streams(tbptt_stride=2), 7))
    assert [window.inputs_BT[0].tolist() for window in windows] == [
        [0, 1],
        [0, 1, 2, 3],
        [1, 2, 3, 4, 5],
        [3, 4, 5, 6, 7],
        [5, 6, 7, 8, 9],
        [7, 8, 9, 10, 11],
        [0, 1],
    ]
    assert [window.targets_BN[0].tolist() for window in windows[:3]] == [[1, 2], [3, 4], [5, 6]]
    assert [window.advance for window in windows[:5]] == [0, 1, 2, 2, 2]
    assert [window.starts for window in windows] == [True, True, False, False, False, False, True]


@pytest.mark.parametrize(("steps", "stride"), [(5, 1), (5, 2), (5, 4), (7, 3), (12, 5), (20, 6)])
def test_each_window_begins_where_the_advance_before_it_says(steps: int, stride: int) -> None:
    one = streams(tbptt_steps=steps, tbptt_stride=stride)
    begin = 0
    for window in islice(one, one.windows_per_epoch):
        assert window.inputs_BT[0, 0].item() == begin
        assert window.starts == (begin == 0)
        assert window.inputs_BT.shape[1] <= steps
        begin += window.advance
