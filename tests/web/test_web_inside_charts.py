"""The charts of a run's inside in a real Chromium, of networks whose weights are known."""

import math
from itertools import pairwise

import pytest
from fake_inside import seen
from fake_v1 import FakeV1, metrics_row
from inside_page import Visit, job, opened, table
from playwright.sync_api import expect

from rnncore.spec import JobSpec

pytestmark = pytest.mark.system


def test_gradient_falls_by_the_forget_gate_and_training_stops_at_its_window(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {10: seen(biases={1: 0.0})})
    expect(page.locator("#gradient .plot-rule + text")).to_have_text("training stops here (4)")
    rows = table(page, "gradient")
    assert [row[0] for row in rows] == ["Lag", *map(str, range(11))]
    assert rows[0][1:] == ["layer 0 h", "layer 0 c"]
    by_lag = [float(row[2]) for row in rows[1:5]]
    assert [after / before for before, after in pairwise(by_lag)] == pytest.approx([0.5] * 3, rel=0.01)


def test_no_rule_is_drawn_beyond_the_lags_that_are_shown(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {10: seen() | {"tbptt_steps": 300}})
    expect(page.locator("#gradient .plot-line")).not_to_have_count(0)
    assert page.locator("#gradient .plot-rule").count() == 0
    expect(page.locator("#memory .plot-rule + text")).to_have_text("window of training (300)")


@pytest.mark.parametrize(("bias", "words"), [(10.0, "22,000 steps"), (0.0, "1.44 steps"), (-10.0, "0.1 steps")])
def test_memory_is_that_of_the_forget_gate(visit: Visit, fake: FakeV1, bias: float, words: str) -> None:
    page = opened(visit, fake, {10: seen(biases={1: bias})})
    expect(page.locator("#memory .view-note")).to_have_text(
        f"Layer 0: half of its 5 units remember {words} or longer, the longest {words}."
    )
    assert table(page, "memory")[1] == ["0", words.removesuffix(" steps")]


def test_gates_stand_where_they_saturate(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {10: seen(biases={0: 10.0, 1: -10.0})})
    expect(page.locator("#gates .view-note")).to_have_text(
        "Layer 0, mean over its units: i 0 % closed, 100 % open · f 100 % closed, 0 % open · o 0 % closed, 0 % open."
    )
    assert page.locator("#gates svg.plot").count() == 3
    dots = page.locator("#gates svg.plot").nth(1).locator(".plot-dot")
    assert dots.count() == 5
    slope = page.locator("#gates svg.plot").nth(1).locator(".series-quiet").get_attribute("d") or ""
    assert slope.endswith(
        f"L{float(dots.first.get_attribute('cx') or 0):.1f} {float(dots.first.get_attribute('cy') or 0):.1f}"
    )
    assert table(page, "gates")[:2] == [
        ["Unit", "i < 0.1", "i > 0.9", "f < 0.1", "f > 0.9", "o < 0.1", "o > 0.9"],
        ["0", "0", "1", "1", "0", "0", "0"],
    ]


def test_plain_rnn_says_that_it_has_no_gates(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job(cell="rnn")]
    page = opened(visit, fake, {10: seen(cell="rnn")})
    expect(page.locator("#gates .view-nothing")).to_contain_text("A plain RNN has no gates")
    expect(page.locator("#gates .view-body")).to_be_hidden()
    expect(page.locator("#gates details")).to_be_hidden()
    expect(page.locator("#gradient .plot-line")).to_have_count(2)  # in the chart and beside its name


def test_loss_by_place_is_shown_in_bits_from_nothing_and_carried(visit: Visit, fake: FakeV1) -> None:
    inside = seen() | {"window_loss": {"windows": 3, "fresh": [2 * math.log(2)] * 4, "carried": [math.log(2)] * 4}}
    page = opened(visit, fake, {10: inside})
    expect(page.locator("#window-loss .view-note")).to_have_text(
        "Mean over 3 windows: 2.000 bits from nothing, 1.000 with the state carried."
    )
    assert table(page, "window-loss")[1] == ["0", "2.000", "1.000"]


def test_networks_on_the_same_data_stand_with_their_seeds_and_spread(visit: Visit, fake: FakeV1) -> None:
    other_data = job("job-9", cell="gru").model_copy(update={"spec": JobSpec(dataset="ds-" + "1" * 32)})
    fake.jobs = [
        job("job-1", cell="lstm", seed=1, best=2.0),
        job("job-2", cell="lstm", seed=2, best=2.5),
        job("job-3", cell="gru", seed=1, best=1.5),
        other_data,
    ]
    for number in (1, 2, 3):
        fake.histories[f"job-{number}"] = [metrics_row(10, validation=number * math.log(2))]
    page = opened(visit, fake, {10: seen()})
    expect(page.locator("#cells .view-note")).to_contain_text("It takes 5 seeds of each")
    assert page.locator(".runs-chosen bdi").all_text_contents() == ["lstm 1", "lstm 2", "gru 1"]
    expect(page.locator(".cells-curves .plot-entry")).to_have_text(["lstm 5x1, 2 seeds", "gru 5x1, 1 seed"])
    assert table(page, "cells")[1:] == [
        ["lstm 5x1", "2", "2.250", "0.354", "2.000", "2.500"],
        ["gru 5x1", "1", "1.500", "–", "1.500", "1.500"],
    ]
    page.locator(".cells-curves svg.plot").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".cells-curves .plot-readout")).to_have_text("step 10lstm 5x1, 2 seeds 1.5gru 5x1, 1 seed 3")
    page.get_by_text("Choose runs").click()
    page.get_by_label("lstm 2").uncheck()
    expect(page.locator(".cells-curves .plot-entry").first).to_have_text("lstm 5x1, 1 seed")


def test_chart_is_read_with_arrow_keys(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {10: seen()})
    page.locator("#gradient svg.plot").focus()
    readout = page.locator("#gradient .plot-readout")
    page.keyboard.press("End")
    expect(readout).to_contain_text("lag 10")
    page.keyboard.press("ArrowLeft")
    expect(readout).to_contain_text("lag 9")
    expect(page.locator("#gradient [role=status]")).to_contain_text("lag 9")
    page.locator("#step").focus()
    expect(readout).not_to_contain_text("lag")
