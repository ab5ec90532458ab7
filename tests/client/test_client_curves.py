"""Curves in characters."""

from unroll.curves import plot, spark, thinned


def test_falling_line_goes_from_the_top_left_to_the_bottom_right():
    found = plot([[(0, 3.0), (10, 1.0)]], width=4, height=2)
    assert found.rows == ["⠑⢄⠀⠀", "⠀⠀⠑⢄"]
    assert (found.lowest, found.highest, found.last_x) == (1.0, 3.0, 10)


def test_each_place_belongs_to_the_curve_that_lies_on_top():
    found = plot([[(0, 1.0), (6, 1.0)], [(0, 0.0), (6, 0.0)]], width=2, height=2)
    assert found.owners == [[0, 0], [1, 1]]
    crossing = plot([[(0, 1.0), (6, 1.0)], [(3, 1.0), (6, 1.0)]], width=2, height=1)
    assert crossing.owners == [[0, 1]]


def test_single_point_is_a_dot_and_no_point_no_plot():
    assert plot([[(5, 2.0)]], width=1, height=1).rows == ["⠁"]
    assert plot([[], []], width=3, height=3) is None


def test_spark_spans_its_own_ends_or_those_it_is_given():
    assert spark([3.0, 2.0, 1.0]) == "█▄▁"
    assert spark([2.0, 2.0], 1.0, 3.0) == "▄▄"
    assert spark([1.0]) == ""


def test_thinning_keeps_first_and_last():
    assert thinned([float(n) for n in range(101)], 5) == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert thinned([1.0, 2.0], 5) == [1.0, 2.0]
