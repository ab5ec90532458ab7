"""The lecture in a real Chromium: figures that answer to the hand, trainings that are found again and said plainly."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from complaints import Complaints
from fake_lecture import FakeLecture
from fake_v1 import metrics_row
from playwright.sync_api import Page, expect
from test_web_axe import violations

from services.jobqueue.records import JobError, JobState, Progress

pytestmark = pytest.mark.system
expect.set_options(timeout=20_000)

Visit = Callable[..., Page]


@pytest.fixture
def fake() -> Iterator[FakeLecture]:
    service = FakeLecture()
    with service.serving():
        yield service


@pytest.fixture
def lecture(visit: Visit) -> Callable[..., Page]:
    """The page once its modules have looked at what there is."""

    def open_page(code: str = "en", **options: Any) -> Page:
        page = visit(f"/lecture/{code}", **options)
        page.locator('#lecture[data-is-ready="yes"]').wait_for()
        return page

    return open_page


def slide(page: Page, selector: str, value: float) -> None:
    page.locator(selector).fill(str(value))


def train_all(page: Page, fake: FakeLecture) -> None:
    """Every figure of the page is there behind it."""
    page.locator("#hello-live .primary").click()
    page.locator("#vanishing-live .primary").click()
    expect(page.locator(".live-jobs li")).to_have_count(7)
    for job in list(fake.jobs):
        fake.finish(job.id)
    expect(page.locator("#vanishing-table tbody tr")).to_have_count(6)
    expect(page.locator("#sampling-bars tr")).to_have_count(4)


def numbers(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


@pytest.mark.parametrize("code", ["en", "ko"])
def test_no_part_of_the_lecture_is_wider_than_the_window(
    lecture: Callable[..., Page], fake: FakeLecture, code: str
) -> None:
    page = lecture(code)
    train_all(page, fake)
    for width in (320, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator("#gate-drawing svg")).not_to_have_attribute("width", "0")
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_shape_that_is_chosen_by_the_keyboard_is_drawn_over_as_many_steps_as_asked_for(
    lecture: Callable[..., Page],
) -> None:
    page = lecture()
    boxes = page.locator("#shape-drawing .node")
    expect(boxes).to_have_count(12)  # many to many: four of each
    page.locator('input[value="many_to_many"]').focus()
    page.keyboard.press("ArrowLeft")
    expect(boxes).to_have_count(4 + 4 + 1)
    slide(page, "#shape-steps", 6)
    expect(boxes).to_have_count(6 + 6 + 1)
    expect(page.locator('[data-shape="many_to_one"]')).to_be_visible()
    expect(page.locator('[data-shape="many_to_many"]')).to_be_hidden()
    page.locator('input[value="encoder_decoder"]').check(force=True)
    expect(boxes).to_have_count(6 + 12 + 6)


def test_hello_is_trained_with_the_visitors_session_and_walks_through_the_weights_of_the_service(
    lecture: Callable[..., Page], fake: FakeLecture
) -> None:
    page = lecture()
    page.get_by_role("button", name="Train it now").click()
    expect(page.locator("#hello-jobs")).to_contain_text("place 2 in the queue: all workers are busy; about 12 s")
    job = fake.jobs[0]
    spec = job.asked()
    assert fake.texts[spec.dataset] == "hello" * 60
    assert (spec.task, spec.model.cell, spec.model.hidden_size) == ("language_model", "rnn", 3)
    assert spec.metadata["lecture"] == "hello"
    fake.history = [metrics_row(10, loss=1.2)]
    fake.become(job.id, JobState.RUNNING, progress=Progress(step=80, ratio=0.2))
    expect(page.locator("#hello-jobs")).to_contain_text("step 80")
    expect(page.locator("#hello-checkpoint + output")).to_have_text("after 80 steps")
    fake.finish(job.id)
    expect(page.locator("#hello-checkpoint + output")).to_have_text("after 400 steps")
    page.get_by_role("button", name="l", exact=True).first.click()
    page.keyboard.press("ArrowRight")  # the second l
    network = fake.network(f"{job.id}:step-400")
    with torch.no_grad():
        ids = torch.tensor([["ehlo".index(letter) for letter in "hell"]])
        expected = network(ids)[0][0, -1].softmax(dim=0)
    assert numbers(page, "#hello-output td:nth-child(2)") == [f"{p:.2f}" for p in expected.tolist()]
    assert page.locator("#hello-output tr.strong th").text_content() == "o ◂"
    expect(page.locator("#hello-check")).to_contain_text("the service says the same to within 0.0000")
    slide(page, "#hello-checkpoint", 0)
    expect(page.locator("#hello-checkpoint + output")).to_have_text("after 40 steps")


def test_letter_is_written_by_the_models_own_sampler_at_the_temperature_that_is_set(
    lecture: Callable[..., Page], fake: FakeLecture
) -> None:
    page = lecture()
    page.get_by_role("button", name="Train it now").click()
    expect(page.locator("#hello-jobs li")).to_have_count(1)
    job = fake.jobs[0]
    fake.finish(job.id)
    slide(page, "#hello-temperature", 1.5)
    page.get_by_role("button", name="Write a letter").click()
    expect(page.locator("#hello-written")).to_have_text("h" + "ehlo"[int(_logits(fake, job.id, "h").argmax())])
    asked = [one for one in fake.asked if "logprobs" not in one]
    assert asked == [{"model": f"{job.id}:step-400", "prompt": "h", "max_tokens": 1, "temperature": 1.5}]


def _logits(fake: FakeLecture, job_id: str, text: str) -> torch.Tensor:
    with torch.no_grad():
        ids = torch.tensor([["ehlo".index(letter) for letter in text]])
        return fake.network(f"{job_id}:step-400")(ids)[0][0, -1]


def test_trainings_are_found_again_after_a_reload_and_can_be_cancelled(
    lecture: Callable[..., Page], fake: FakeLecture
) -> None:
    page = lecture()
    page.get_by_role("button", name="Train RNN, GRU and LSTM").click()
    expect(page.locator("#vanishing-jobs li")).to_have_count(6)
    page.reload()
    expect(page.locator("#vanishing-jobs li")).to_have_count(6)
    expect(page.get_by_role("button", name="Train RNN, GRU and LSTM")).to_be_disabled()
    page.locator("#vanishing-live").get_by_role("button", name="Cancel").click()
    expect(page.locator("#vanishing-jobs")).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="Train RNN, GRU and LSTM")).to_be_enabled()
    assert [job.state for job in fake.jobs] == [JobState.CANCELLED] * 6


def test_gradient_is_drawn_from_what_was_seen_in_each_network_with_a_line_where_training_stops_to_see(
    lecture: Callable[..., Page], fake: FakeLecture
) -> None:
    page = lecture()
    slide(page, "#vanishing-bias", -3)
    slide(page, "#vanishing-steps", 16)
    page.get_by_role("button", name="Train RNN, GRU and LSTM").click()
    expect(page.locator("#vanishing-jobs li")).to_have_count(6)
    asked = [job.asked() for job in reversed(fake.jobs)]
    assert [(spec.model.cell, spec.metadata["part"], spec.train.tbptt_steps) for spec in asked] == [
        *(("rnn", "before", 16), ("gru", "before", 16), ("lstm", "before", 16)),
        *(("rnn", "after", 16), ("gru", "after", 16), ("lstm", "after", 16)),
    ]
    assert [spec.model.forget_bias for spec in asked if spec.model.cell == "lstm"] == [-3, -3]
    parameters = {
        spec.model.cell: sum(
            p.numel() for name, p in fake.network(job.id).named_parameters() if not name.startswith("embedding")
        )
        for job, spec in zip(reversed(fake.jobs), asked, strict=True)
    }
    assert max(parameters.values()) - min(parameters.values()) < 0.05 * min(parameters.values())
    for job in list(fake.jobs):
        fake.finish(job.id)
    expect(page.locator("#vanishing-table tbody tr")).to_have_count(6)
    rows = page.locator("#vanishing-table tbody tr")
    for row, (job, spec) in enumerate(zip(reversed(fake.jobs), asked, strict=True)):
        text = fake.texts[spec.dataset]
        assert all(line[0] == line[-1] for line in text.splitlines())
        seen = fake.look(f"{job.id}:step-{spec.train.max_steps}", text[-150:])
        lag_1 = seen["gradient"]["layers"][0]["hidden"][1]
        cells = rows.nth(row).locator("td")
        assert cells.nth(1).text_content() == str(parameters[spec.model.cell])
        assert float(cells.nth(2).text_content() or "") == pytest.approx(lag_1, abs=0.0051)
    expect(page.locator("#vanishing-drawing .mark")).to_have_count(1)
    expect(page.locator("#vanishing-drawing")).to_contain_text("tbptt_steps = 16")
    expect(page.locator("#vanishing-drawing .series")).to_have_count(6)
    expect(page.locator("#vanishing-said")).to_contain_text("lags 0 to 15")


def test_failed_training_says_why_and_can_be_started_again(lecture: Callable[..., Page], fake: FakeLecture) -> None:
    page = lecture()
    page.get_by_role("button", name="Train it now").click()
    expect(page.locator("#hello-jobs li")).to_have_count(1)
    error = JobError(type="non_finite_loss", message="<b>the loss</b> is not finite", hint="lower it")
    fake.become(fake.jobs[0].id, JobState.FAILED, error=error)
    expect(page.locator("#hello-jobs .alarm")).to_have_text("<b>the loss</b> is not finite lower it")
    expect(page.get_by_role("button", name="Train it now")).to_be_enabled()


def test_training_that_is_refused_says_so_in_the_language_of_the_page_and_leaves_nothing_queued(
    lecture: Callable[..., Page], fake: FakeLecture, complaints: Complaints
) -> None:
    page = lecture("ko")
    fake.room = 2
    page.get_by_role("button", name="RNN, GRU, LSTM 학습하기").click()
    expect(page.locator("#vanishing-error")).to_have_text(
        "키의 한도에 이르렀습니다. 나중에 다시 시도하거나 다른 작업을 취소하십시오. (no more jobs)"
    )
    expect(page.get_by_role("button", name="RNN, GRU, LSTM 학습하기")).to_be_enabled()
    assert [job.state for job in fake.jobs] == [JobState.CANCELLED] * 2
    assert {said[:3] for said in complaints.said} == {"429", "err"}
    complaints.said.clear()


def test_key_that_may_not_train_is_told_so_before_it_tries(lecture: Callable[..., Page], fake: FakeLecture) -> None:
    fake.scopes = frozenset({"read", "sample"})
    page = lecture()
    expect(page.locator("#hello-live [data-part=words]")).to_contain_text("Your key may look but not train")
    expect(page.get_by_role("button", name="Train it now")).to_be_disabled()


def test_window_of_truncation_slides_and_its_gradient_ends_at_the_cut(lecture: Callable[..., Page]) -> None:
    page = lecture()
    slide(page, "#cut-steps", 4)
    slide(page, "#cut-window", 2)
    expect(page.locator("#cut-drawing .edge-gradient")).to_have_count(3)  # between four steps
    expect(page.locator("#cut-drawing .gradient:not(.lost)")).to_have_count(4)
    expect(page.locator("#cut-drawing .gradient.lost")).to_have_count(8)
    expect(page.locator("#cut-drawing .edge-state")).to_have_count(11)  # the state passes every step
    expect(page.locator("#cut-drawing .cut")).to_have_count(1)
    slide(page, "#cut-window", 0)
    expect(page.locator("#cut-drawing .cut")).to_have_count(0)
    expect(page.locator("#cut-drawing .gradient.lost")).to_have_count(0)


def test_forget_gate_that_is_shut_by_the_keyboard_for_one_step_loses_the_value(lecture: Callable[..., Page]) -> None:
    page = lecture()
    expect(page.locator("#gate-said")).to_have_text("After 30 steps the cell holds c = 0.610 and shows h = 0.539.")
    page.get_by_role("button", name="f at step 1", exact=True).focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="f at step 29", exact=True)).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#gate-said")).to_have_text("After 30 steps the cell holds c = 0.000 and shows h = 0.000.")
    expect(page.locator("#gate-preset")).to_have_value("")
    page.locator('input[name="gate-cell"][value="gru"]').check(force=True)
    expect(page.locator("#gate-said")).to_contain_text("the unit holds h = ")
    assert page.locator("#gate-drawing .series").count() == 1


def test_bars_of_sampling_follow_temperature_top_k_and_top_p_and_the_service_draws_with_them(
    lecture: Callable[..., Page], fake: FakeLecture
) -> None:
    page = lecture()
    expect(page.locator("#sampling-empty")).to_be_visible()
    page.get_by_role("button", name="Train it now").click()
    expect(page.locator("#hello-jobs li")).to_have_count(1)
    job = fake.jobs[0].id
    fake.finish(job)
    expect(page.locator("#sampling-bars tr")).to_have_count(4)
    with torch.no_grad():
        ids = torch.tensor([["ehlo".index(letter) for letter in "hel"]])
        logits = fake.network(job)(ids)[0][0, -1]
    own = logits.softmax(dim=0).sort(descending=True).values
    assert numbers(page, "#sampling-bars td:nth-child(2)") == [f"{100 * p:.1f} %" for p in own.tolist()]
    slide(page, "#sampling-temperature", 2)
    slide(page, "#sampling-k", 2)
    first = (logits / 2).softmax(dim=0).sort(descending=True).values[:2]
    kept = first / first.sum()
    assert numbers(page, "#sampling-bars td:nth-child(3)") == [
        *(f"{100 * p:.1f} %" for p in kept.tolist()),
        *("0.0 %", "0.0 %"),
    ]
    page.get_by_role("button", name="Draw a symbol").click()
    expect(page.locator("#sampling-written")).to_have_text("hel" + "ehlo"[int(logits.argmax())])
    drawn = next(one for one in fake.asked if "top_k" in one)
    assert drawn == {"model": job, "prompt": "hel", "max_tokens": 1, "temperature": 2, "top_k": 2, "top_p": 1}


def test_symbol_that_a_model_never_read_is_refused_in_words(
    lecture: Callable[..., Page], fake: FakeLecture, complaints: Complaints
) -> None:
    page = lecture()
    page.get_by_role("button", name="Train it now").click()
    expect(page.locator("#hello-jobs li")).to_have_count(1)
    fake.finish(fake.jobs[0].id)
    page.locator("#sampling-prompt").fill("hex")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#sampling-error")).to_contain_text("symbol 'x' is not in the vocabulary")
    complaints.said.clear()


def test_change_of_language_stays_at_the_chapter(lecture: Callable[..., Page], fake: FakeLecture) -> None:
    page = lecture()
    page.locator(".contents").get_by_role("link", name="Gates").click()
    expect(page.locator('.contents a[aria-current="location"]')).to_have_text("Gates")
    page.get_by_role("link", name="한국어").click()
    page.wait_for_url(fake.url + "/lecture/ko#gates")
    expect(page.locator("html")).to_have_attribute("lang", "ko")


@pytest.mark.parametrize(("code", "scheme"), [("en", "light"), ("ko", "dark")])
def test_axe_finds_nothing_in_the_lecture(
    lecture: Callable[..., Page], fake: FakeLecture, code: str, scheme: str
) -> None:
    page = lecture(code, color_scheme=scheme)
    assert violations(page) == []
    train_all(page, fake)
    page.locator('input[name="gate-cell"][value="gru"]').check(force=True)
    assert violations(page) == []
