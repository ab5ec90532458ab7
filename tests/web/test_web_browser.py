"""The pages in a real Chromium: what moves, what ends, what hostile text may not do."""

from collections.abc import Callable
from typing import Any

import pytest
from complaints import Complaints
from fake_v1 import KEY, FakeV1, job_record, metrics_row
from playwright.sync_api import Browser, Page, expect

from services.jobqueue.records import JobState
from services.web import sessions

pytestmark = pytest.mark.system

Visit = Callable[..., Page]
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u202eevil\x1b[31m"
SHOWN = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>⟨U+202E⟩evil⟨U+001B⟩[31m"
IS_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def picture(page: Page) -> str:
    return str(page.locator("#curve canvas").evaluate("(canvas) => canvas.toDataURL()"))


def points(page: Page, number: int) -> None:
    expect(page.locator("#curve")).to_have_attribute("data-points", str(number))


def test_login_cookie_is_out_of_reach_of_scripts_and_is_not_the_key(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    page = visit("/jobs/job-1/config", log_in=False)
    page.wait_for_url("**/login?next=**")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/jobs/job-1/config")
    assert page.evaluate("document.cookie") == ""
    cookie = next(c for c in page.context.cookies() if c["name"] == sessions.COOKIE_NAME)
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert KEY not in cookie["value"]
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    assert page.context.cookies() == []


def test_curve_appears_and_moves_without_a_reload(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.history = [metrics_row(step, loss=4.0 - step / 100) for step in (10, 20, 30)]
    page = visit("/jobs/job-1")
    page.evaluate("window.isTheSamePage = true")
    points(page, 3)
    before = picture(page)
    fake.push("metrics", metrics_row(40, loss=1.25, validation=1.5))
    points(page, 4)
    assert picture(page) != before
    expect(page.locator("#fact-loss")).to_have_text("1.250")
    expect(page.locator("#fact-score")).to_have_text("2.164")
    expect(page.locator("#fact-step")).to_have_text("40")
    expect(page.locator("#fact-eta")).to_have_text("3 min")
    expect(page.locator("#live")).to_have_text("live")
    assert page.locator("#validations td").all_text_contents() == ["40", "1.250", "1.500", "2.164"]
    assert page.evaluate("window.isTheSamePage")


def test_resumed_run_supersedes_its_predecessor_from_its_first_step_on(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    page = visit("/jobs/job-1")
    for step in (10, 20, 30, 40):
        fake.push("metrics", metrics_row(step, loss=2.0))
    points(page, 4)
    fake.push("metrics", metrics_row(30, epoch=2, loss=1.0))
    points(page, 3)
    fake.push("metrics", metrics_row(40, epoch=1, loss=9.0))  # a late word of the superseded run
    fake.push("metrics", metrics_row(40, epoch=2, loss=0.5))
    points(page, 4)
    columns = page.evaluate(
        """async (rows) => {
          const { History } = await import("/static/history.js");
          const history = new History();
          rows.forEach((row) => history.add(row));
          return [history.axis("step"), history.column((row) => row.train_loss), history.starts("step")];
        }""",
        [metrics_row(s, epoch=e, loss=x) for s, e, x in [(40, 2, 0.5), (10, 1, 4), (40, 1, 9), (30, 2, 1), (20, 1, 3)]],
    )
    assert columns == [[10, 20, 30, 40], [4, 3, 1, 0.5], [{"x": 30, "label": "attempt 2"}]]


def test_new_points_leave_a_zoom_as_it_is(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.history = [metrics_row(step) for step in range(10, 1010, 10)]
    page = visit("/jobs/job-1")
    points(page, 100)
    whole = picture(page)
    box = page.locator("#curve .u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    page.mouse.up()
    zoomed = picture(page)
    assert zoomed != whole
    fake.push("metrics", metrics_row(100_000))
    points(page, 101)
    assert picture(page) == zoomed
    page.locator("#curve .u-over").dblclick()
    fake.push("metrics", metrics_row(200_000))
    points(page, 102)
    assert picture(page) != zoomed


def test_end_of_a_job_shows_without_a_reload_and_closes_the_stream(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    page = visit("/jobs/job-1")
    expect(page.locator("#run-state")).to_have_text("running")
    fake.jobs = [job_record(state=JobState.SUCCEEDED)]
    fake.push("message", {"level": "info", "text": "done"})
    fake.push("state", {"state": "succeeded", "reason": "max_steps", "attempt": 1, "epoch": 1})
    fake.end()
    expect(page.locator("#run-state")).to_have_text("succeeded")
    expect(page.locator("#run-state use")).to_have_attribute("href", "#i-succeeded")
    expect(page.locator("#live")).to_have_text("ended")
    page.evaluate(IS_HIDDEN, True)
    page.evaluate(IS_HIDDEN, False)
    assert fake.streams_asked == [""]


def test_hidden_tab_holds_no_stream_and_goes_on_where_it_was(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    page = visit("/jobs/job-1")
    fake.push("metrics", metrics_row(10))
    fake.push("metrics", metrics_row(20))
    points(page, 2)
    assert fake.open_streams == 1
    page.evaluate(IS_HIDDEN, True)
    fake.until(lambda: fake.open_streams == 0)
    fake.push("metrics", metrics_row(30))
    page.evaluate(IS_HIDDEN, False)
    points(page, 3)
    assert fake.streams_asked == ["", "2-0"]


def test_hostile_text_is_shown_and_never_run(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record(name=HOSTILE)]
    fake.completion = [HOSTILE]
    page = visit("/jobs/job-1")
    fake.push(
        "checkpoint",
        {"step": 10, "epoch": 1, "bits_per_character": 2.5, "samples": [{"prompt": HOSTILE, "text": HOSTILE}]},
    )
    expect(page.locator("#samples pre")).to_have_text(SHOWN + SHOWN)
    page.get_by_role("textbox", name="Prompt").fill("a")
    page.get_by_role("button", name="Complete").click()
    expect(page.locator("#completion")).to_have_text("a" + SHOWN)
    expect(page.locator("#run-title")).to_have_text(SHOWN)
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == f"{SHOWN} · Unroll"
    page.get_by_role("link", name="Runs").click()
    fake.jobs = [job_record(name=HOSTILE), job_record("job-2", name=HOSTILE)]
    fake.until(lambda: fake.watched != [])
    fake.wake()
    expect(page.locator("#runs .name bdi")).to_have_text([SHOWN, SHOWN])  # by way of the list's own refresh
    assert page.locator("img[src=x]").count() == 0


def test_completion_streams_into_the_page(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.pieces_allowed = 1
    page = visit("/jobs/job-1")
    page.get_by_role("textbox", name="Prompt").fill("KING:\n")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Checkpoint").select_option("latest")
    page.get_by_role("button", name="Complete").click()
    shown = page.locator("#completion")
    expect(shown).to_have_text("KING:\nOnce ", use_inner_text=False)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    fake.pieces_allowed = 3
    fake.wake()
    expect(shown).to_have_text("KING:\nOnce upon a time.")
    expect(page.get_by_role("button", name="Complete")).to_be_visible()
    asked: dict[str, Any] = {"model": "job-1:latest", "prompt": "KING:\n", "max_tokens": 400, "temperature": 0.8}
    assert fake.completion_requests == [{**asked, "seed": 7, "stream": True}]


def test_completion_can_be_stopped_and_keeps_what_was_written(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.pieces_allowed = 1
    page = visit("/jobs/job-1")
    page.get_by_role("button", name="Complete").click()
    expect(page.locator("#completion")).to_have_text("Once ")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Complete")).to_be_visible()
    expect(page.locator("#completion")).to_have_text("Once ")
    expect(page.locator("#try-error")).to_be_hidden()


def test_error_within_a_stream_is_told_beside_what_was_written(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.completion = ["Once ", {"error": {"message": "the sampler went away <b>\u202e"}}]
    page = visit("/jobs/job-1")
    page.get_by_role("button", name="Complete").click()
    expect(page.locator("#try-error")).to_have_text("the sampler went away <b>⟨U+202E⟩")
    expect(page.locator("#completion")).to_have_text("Once ")


def test_refused_completion_says_why(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    fake.jobs = [job_record()]
    page = visit("/jobs/job-1")
    page.locator('meta[name="csrf-token"]').evaluate("(meta) => { meta.content = 'forged'; }")
    page.get_by_role("button", name="Complete").click()
    expect(page.locator("#try-error")).to_have_text("no CSRF token")
    expect(page.locator("#completion")).to_be_hidden()
    assert fake.completion_requests == []
    assert [said[:3] for said in complaints.said] == ["403", "err"]
    complaints.said.clear()


def test_no_point_is_lost_over_a_restart_of_the_service(chromium: Browser, complaints: Complaints) -> None:
    fake = FakeV1()
    fake.jobs = [job_record()]
    context = chromium.new_context()
    complaints.listen(context)
    with fake.serving():
        context.add_cookies([{"name": sessions.COOKIE_NAME, "value": fake.session(), "url": fake.url}])
        page = context.new_page()
        page.goto(fake.url + "/jobs/job-1")
        fake.push("metrics", metrics_row(10))
        fake.push("metrics", metrics_row(20))
        points(page, 2)
        page.evaluate("window.isTheSamePage = true")
    expect(page.locator("#live")).to_have_text("connection lost, trying again")
    fake.push("metrics", metrics_row(30))
    with fake.serving():
        expect(page.locator("#live")).to_have_text("live", timeout=20_000)
        fake.push("metrics", metrics_row(40))
        points(page, 4)
        assert page.evaluate("window.isTheSamePage")
        assert fake.streams_asked == ["", "2-0"]
        context.close()
    assert [said for said in complaints.said if "net::ERR_" not in said] == []
    complaints.said.clear()


@pytest.mark.parametrize("path", ["/", "/jobs/job-1"])
def test_revoked_key_leads_an_open_page_to_the_login(
    visit: Visit, fake: FakeV1, complaints: Complaints, path: str
) -> None:
    fake.jobs = [job_record()]
    page = visit(path)
    fake.until(lambda: fake.open_streams == 1)
    fake.live_keys.clear()
    if path == "/":
        fake.wake()
    else:
        fake.push("state", {"state": "running", "reason": "x", "attempt": 1, "epoch": 1})
    page.wait_for_url("**/login*")
    assert {said[:3] for said in complaints.said} <= {"401", "err"}
    complaints.said.clear()
