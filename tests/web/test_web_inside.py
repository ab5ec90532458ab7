"""The inside of a run in a real Chromium: its checkpoints, its address, a text of one's own, and all views at once."""

from urllib.parse import parse_qs, urlsplit

import pytest
from axe_core import violations
from complaints import Complaints
from fake_inside import TEXT, seen
from fake_v1 import FakeV1, job_record, refusal
from inside_page import Visit, job, opened, shows
from playwright.sync_api import expect

from rnncore.spec import JobSpec, ModelSpec

pytestmark = pytest.mark.system


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_inside_violates_no_rule_of_axe(visit: Visit, fake: FakeV1, scheme: str) -> None:
    fake.jobs = [job(), job("job-2", cell="gru")]
    page = opened(visit, fake, {10: seen(), 20: seen()}, color_scheme=scheme)
    expect(page.locator(".cells-curves .plot-entry").first).to_be_visible()
    assert violations(page) == []
