"""The texts of a run's inside in a real Chromium: coloured by surprisal and by units, and what of them was copied."""

import math

import pytest
from fake_inside import TEXT, seen
from fake_v1 import FakeV1
from inside_page import Visit, heats, opened, shows, table
from playwright.sync_api import expect

from rnncore.inspection import CopiedSample, Copying

pytestmark = pytest.mark.system

HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202e"


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


def test_symbol_that_is_looked_at_in_one_text_is_looked_at_in_the_other(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, {10: seen(), 20: seen("abcabcabk")})
    chosen = page.locator(".symbols [aria-selected=true]")
    expect(chosen).to_have_text(["b", "b"])
    page.locator("#surprisal .symbols span").nth(8).hover()
    expect(chosen).to_have_text(["k", "k"])
    expect(page.locator(".unit-reading")).to_contain_text("k · cell c 0")
    expect(page.locator(".unit-values .plot-readout")).to_contain_text("place 8")
    page.locator("#units .symbols span").nth(5).hover()
    expect(chosen).to_have_text(["c", "c"])
    expect(page.locator("#surprisal .detail-symbol")).to_have_text("c")
    page.locator("#step-back").click()
    shows(page, 10)
    expect(chosen).to_have_text(["c", "c"])


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
    expect(page.locator("#copying mark")).to_have_text(["to be or not to be"])
    expect(page.locator("#copying pre")).to_have_text((HOSTILE + text).replace("\u202e", "⟨U+202E⟩"))
    assert page.locator("img[src=x]").count() == 0
    rows = table(page, "copying")
    assert rows[1:] == [
        ["10", "50 %", "25 %", "0 %", "–", "40 %", "12 %", "0 %", "0 %"],
        ["20", "75 %", "50 %", "0 %", "–", "40 %", "12 %", "0 %", "0 %"],
    ]


def test_bytes_are_spelled_as_the_characters_they_make(visit: Visit, fake: FakeV1) -> None:
    inside = seen()
    names = ["a", "bytes:\\xc3", "bytes:\\xb6", "\n", "bytes:\\xff", "b"]
    inside["symbols"] = [{"symbol": name, "surprisal": 1.0, "top": []} for name in names]
    page = opened(visit, fake, {10: inside})
    expect(page.locator("#surprisal .view-note")).to_contain_text("bits per byte")
    assert page.locator("#surprisal .symbols span").all_text_contents() == ["a", "·", "ö", "↵\n", "\ufffd", "b"]
