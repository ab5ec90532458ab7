"""The inside of a run in a real Chromium, on insides that are known: by hand, or of networks whose weights are."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from complaints import Complaints
from fake_inside import TEXT, seen
from fake_v1 import FakeV1, job_record, metrics_row, refusal
from playwright.sync_api import Locator, Page, expect

from rnncore.inspection import CopiedSample, Copying
from rnncore.spec import JobSpec, ModelSpec, TrainSpec

pytestmark = pytest.mark.system

Visit = Callable[..., Page]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202e"


def job(job_id: str = "job-1", *, cell: Any = "lstm", seed: int = 0, layers: int = 1, best: float = 1.0) -> Any:
    model = ModelSpec(cell=cell, hidden_size=5, num_layers=layers)
    spec = JobSpec(dataset="ds-" + "0" * 32, name=f"{cell} {seed}", model=model, train=TrainSpec(seed=seed))
    return job_record(job_id, spec=spec, best={"step": 10, "validation_loss": best * math.log(2)})


def opened(visit: Visit, fake: FakeV1, by_step: dict[int, Any], query: str = "", **options: Any) -> Page:
    """The inside of a job whose checkpoints showed this."""
    fake.jobs = fake.jobs or [job()]
    fake.inside.seen["job-1"] = by_step
    page = visit("/jobs/job-1/inside" + query, **options)
    expect(page.locator("#views")).to_have_attribute("aria-busy", "false")
    return page


def shows(page: Page, step: int) -> None:
    expect(page.locator("#views")).to_have_attribute("data-step", str(step))


def table(page: Page, view: str) -> list[list[str]]:
    """The rows behind a chart, opened as a reader opens them."""
    details = page.locator(f"#{view} > details")
    details.locator("summary").click()
    expect(details.locator("td").first).to_be_visible()
    rows = details.locator("tr").all()
    return [row.locator("th, td").all_text_contents() for row in rows]


def heats(symbols: Locator) -> list[str]:
    return [
        str(heat)
        for heat in symbols.locator("span").evaluate_all("all => all.map(s => s.style.getPropertyValue('--heat'))")
    ]


def test_uniform_network_colours_all_symbols_alike_and_costs_log2_of_the_vocabulary(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {10: seen()})
    expect(page.locator("#surprisal .view-note")).to_contain_text(f"{math.log2(11):.2f} bits per character")
    assert heats(page.locator("#surprisal .symbols")) == ["", *[f"{math.log2(11) / 8:.3f}"] * (len(TEXT) - 1)]
    expect(page.locator("#surprisal .symbols")).to_have_text(TEXT)
    rows = table(page, "surprisal")
    assert rows[0] == ["Place", "Symbol", "Bits", "Likeliest instead"]
    assert [row[:3] for row in rows[1:3]] == [["0", "a", "–"], ["1", "b", "3.46"]]
    assert len(rows) == len(TEXT) + 1


def test_symbol_tells_its_alternatives_to_pointer_and_keyboard(visit: Visit, fake: FakeV1) -> None:
    inside = seen()
    inside["symbols"][2] |= {
        "surprisal": math.log(4),
        "top": [{"symbol": " ", "probability": 0.5}, {"symbol": "c", "probability": 0.25}],
    }
    inside["symbols"][3] |= {"symbol": "\n", "surprisal": 2 * math.log(2), "top": []}
    page = opened(visit, fake, {10: inside})
    detail, symbols = page.locator("#surprisal .detail"), page.locator("#surprisal .symbols span")
    symbols.nth(2).hover()
    expect(detail.locator(".detail-head")).to_have_text("c2.00 bits, probability 25.0 %")
    assert detail.locator("li").all_text_contents() == ["space50.0 %", "c25.0 %"]
    symbols.first.focus()
    expect(detail).to_have_text("anothing came before it")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(symbols.nth(3)).to_be_focused()
    expect(symbols.nth(3)).to_have_attribute("aria-label", "line end, 2.00 bits")
    expect(symbols.nth(2)).to_have_attribute("aria-label", "c, 2.00 bits, likeliest space, 50.0 %")
    expect(detail.locator(".detail-head")).to_have_text("line end2.00 bits, probability 25.0 %")
    assert page.locator("#surprisal .symbols [tabindex='0']").count() == 1  # one stop of Tab, however long the text
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown"):  # to the second symbol, and to the one below it
        page.keyboard.press(key)
    expect(symbols.nth(5)).to_be_focused()


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


def test_before_the_first_checkpoint_the_page_says_so_and_fills_by_itself(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job()]
    page = visit("/jobs/job-1/inside")
    expect(page.locator("#no-checkpoint")).to_contain_text("the first after 500 steps")
    expect(page.locator("#looking")).to_be_hidden()
    fake.inside.seen["job-1"] = {10: seen()}
    fake.push("checkpoint", {"step": 10, "epoch": 1})
    shows(page, 10)
    expect(page.locator("#no-checkpoint")).to_be_hidden()
    fake.inside.seen["job-1"][20] = seen("abcabcabc")
    fake.push("checkpoint", {"step": 20, "epoch": 1})
    shows(page, 20)  # who looks at the newest goes on to the newest
    expect(page.locator("#surprisal .symbols")).to_have_text("abcabcabc")
    page.locator("#step-back").click()
    shows(page, 10)
    fake.inside.seen["job-1"][30] = seen()
    fake.push("checkpoint", {"step": 30, "epoch": 1})
    expect(page.locator("#step-note")).to_contain_text("1 of 3")
    shows(page, 10)


def test_slider_moves_every_view_and_the_address_keeps_the_place(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job(layers=2)]
    by_step = {step: seen(biases={1: bias}, num_layers=2) for step, bias in ((10, 0.0), (20, 2.0), (30, 4.0))}
    page = opened(visit, fake, by_step, "?layer=1")
    notes = [page.locator(f"#{view} .view-note") for view in ("gates", "memory", "gradient")]
    before = [note.text_content() for note in notes]
    page.locator("#step").focus()
    page.keyboard.press("ArrowLeft")
    shows(page, 20)
    after = [note.text_content() for note in notes]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, True, True]
    expect(page.locator("#step-words")).to_have_text("step 20")
    expect(page.locator("#step")).to_have_attribute("aria-valuetext", "step 20")
    expect(page.locator("#memory .view-note")).to_contain_text("Layer 1:")
    page.locator("#layer").select_option("0")
    expect(page.locator("#memory .view-note")).to_contain_text("Layer 0:")
    page.locator(".unit").nth(1).click()
    chosen = page.locator(".unit :checked").get_attribute("value")
    layer, unit = (chosen or "").split(":")
    assert parse_qs(urlsplit(page.url).query) == {"step": ["20"], "layer": [layer], "unit": [unit]}
    page.reload()
    shows(page, 20)
    expect(page.locator(".unit :checked")).to_have_value(f"{layer}:{unit}")


def test_playing_goes_from_the_first_checkpoint_to_the_last(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {step: seen() for step in (10, 20)})
    page.clock.install()
    page.get_by_role("button", name="Play").click()
    shows(page, 10)
    page.clock.run_for(800)
    shows(page, 20)
    page.clock.run_for(800)
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_unit_that_was_not_kept_is_asked_for(visit: Visit, fake: FakeV1) -> None:
    fake.inside.look = lambda asked: seen(units=[(one["layer"], one["unit"]) for one in asked["units"]])
    page = opened(visit, fake, {10: seen()})
    page.get_by_label("Unit", exact=True).fill("4")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".unit :checked")).to_have_value("0:4")
    assert [(asked["model"], asked["input"], asked["units"]) for asked in fake.inside.asked] == [
        ("job-1:step-10", TEXT, [{"layer": 0, "unit": 4}])
    ]
    assert page.locator(".unit").count() == 4


def test_text_is_coloured_by_the_unit_and_by_each_of_its_gates(visit: Visit, fake: FakeV1) -> None:
    inside = seen("abcd")
    inside["units"] = [
        {
            "layer": 0,
            "unit": 3,
            "feature": "blank",
            "correlation": -0.5,
            "values": [-2.0, 0.0, 1.0, 0.5],
            "gates": {"i": [0.0, 0.25, 0.5, 1.0], "f": [1.0] * 4, "o": [0.5] * 4},
        }
    ]
    page = opened(visit, fake, {10: inside})
    symbols = page.locator("#units .symbols")
    expect(page.locator("#units .view-note")).to_contain_text("layer 0, unit 3 follows “blank” (correlation -0.50)")
    assert heats(symbols) == ["1.000", "0.000", "0.500", "0.250"]
    assert symbols.locator(".minus").all_text_contents() == ["a"]
    page.get_by_role("radio", name="input gate i").check()
    assert heats(symbols) == ["0.000", "0.250", "0.500", "1.000"]
    symbols.locator("span").nth(2).hover()
    expect(page.locator(".unit-reading")).to_have_text(
        "c · cell c 1 · input gate i 0.5 · forget gate f 1 · output gate o 0.5"
    )
    assert table(page, "units")[3] == ["2", "c", "1", "0.5", "1", "0.5"]


def test_text_of_ones_own_is_looked_at_in_every_checkpoint(visit: Visit, fake: FakeV1) -> None:
    fake.inside.look = lambda asked: seen(asked["input"])
    page = opened(visit, fake, {10: seen(), 20: seen()})
    page.get_by_text("Look at a text of your own").click()
    page.locator("#own-text").fill("kabak")
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator("#surprisal .symbols")).to_have_text("kabak")
    page.locator("#step-back").click()
    shows(page, 10)
    expect(page.locator("#surprisal .symbols")).to_have_text("kabak")
    assert [(asked["model"], asked["input"]) for asked in fake.inside.asked] == [
        ("job-1:step-20", "kabak"),
        ("job-1:step-10", "kabak"),
    ]
    page.get_by_role("button", name="Back to the validation part").click()
    expect(page.locator("#surprisal .symbols")).to_have_text(TEXT)


def test_refused_text_says_why(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    fake.inside.look = lambda _: refusal(422, "input: symbol 'z' is not in the vocabulary <b>\u202e")
    page = opened(visit, fake, {10: seen()})
    page.get_by_text("Look at a text of your own").click()
    page.locator("#own-text").fill("zz")
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator("#refused")).to_have_text("input: symbol 'z' is not in the vocabulary <b>⟨U+202E⟩")
    assert {said[:3] for said in complaints.said} == {"422", "err"}
    complaints.said.clear()


def test_copied_passages_are_marked_and_hostile_text_is_text(visit: Visit, fake: FakeV1) -> None:
    text = "𝒳 to be or not to be " + HOSTILE
    copying = Copying(
        searched=1234,
        lengths=[8, 12, 16, 24],
        copied=[0.5, 0.25, 0.0, None],
        held_out=[0.4, 0.125, 0.0, 0.0],
        samples=[CopiedSample(prompt=HOSTILE, text=text, passages=[(2, 20)])],
    )
    later = copying.model_copy(update={"copied": [0.75, 0.5, 0.0, None]})
    page = opened(visit, fake, {10: seen(copying=copying), 20: seen(copying=later)})
    assert page.locator("#copying mark").all_text_contents() == ["to be or not to be"]
    expect(page.locator("#copying pre")).to_have_text((HOSTILE + text).replace("\u202e", "⟨U+202E⟩"))
    assert page.locator("img[src=x]").count() == 0
    rows = table(page, "copying")
    assert rows[1:] == [
        ["10", "50 %", "25 %", "0 %", "–", "40 %", "12 %", "0 %", "0 %"],
        ["20", "75 %", "50 %", "0 %", "–", "40 %", "12 %", "0 %", "0 %"],
    ]


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


def test_other_tasks_show_what_they_have_and_say_what_they_have_not(visit: Visit, fake: FakeV1) -> None:
    inside = seen() | {"task": "regress", "symbols": [], "window_loss": None}
    fake.jobs = [job_record(spec=JobSpec(dataset="ds-" + "0" * 32, task="regress", model=ModelSpec(hidden_size=5)))]
    page = opened(visit, fake, {10: inside})
    expect(page.locator("#surprisal .view-nothing")).to_contain_text(
        "the task regress does not predict the next symbol"
    )
    expect(page.locator("#window-loss .view-nothing")).to_contain_text("the task regress reads each input")
    expect(page.locator("#copying .view-nothing")).to_contain_text("a network of the task regress")
    expect(page.locator("#units .symbols")).to_be_hidden()
    expect(page.locator("#units .unit-values .plot-line").first).to_be_attached()
    expect(page.locator("#own")).to_be_hidden()


def test_every_view_has_its_words_its_table_and_fits_a_phone(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {10: seen()}, viewport={"width": 320, "height": 700})
    views = page.locator(".view")
    assert views.count() == 8
    for view in views.all():
        assert len(view.locator(".view-words").text_content() or "") > 60
        assert view.locator(":scope > details").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 320


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


def test_bytes_are_spelled_as_the_characters_they_make(visit: Visit, fake: FakeV1) -> None:
    inside = seen()
    names = ["a", "bytes:\\xc3", "bytes:\\xb6", "\n", "bytes:\\xff", "b"]
    inside["symbols"] = [{"symbol": name, "surprisal": 1.0, "top": []} for name in names]
    page = opened(visit, fake, {10: inside})
    assert page.locator("#surprisal .symbols span").all_text_contents() == ["a", "·", "ö", "↵\n", "\ufffd", "b"]
    expect(page.locator("#surprisal .view-note")).to_contain_text("bits per byte")
