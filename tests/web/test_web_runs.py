"""The run list in a real Chromium: rows that change in place, runs that are picked, the way by keyboard."""

from collections.abc import Callable

import pytest
from complaints import Complaints
from fake_v1 import FakeV1, job_record, refusal
from playwright.sync_api import Page, expect

from services.jobqueue.records import JobState, Scores

pytestmark = pytest.mark.system

Visit = Callable[..., Page]


def push(fake: FakeV1) -> None:
    """Something happened to what the list shows."""
    fake.until(lambda: fake.open_streams > 0)
    fake.wake()


def test_row_changes_in_place_and_keeps_focus_selection_and_scroll(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record(f"job-{n}") for n in range(40)]
    page = visit("/", viewport={"width": 1280, "height": 500})
    row = page.locator('tr[data-job="job-20"]')
    row.locator(".pick input").check()
    row.get_by_role("link", name="job-20").focus()
    page.evaluate("window.isTheSamePage = true; window.row = document.querySelector('tr[data-job=\"job-20\"]')")
    top = row.evaluate("(row) => row.getBoundingClientRect().top")
    better = job_record("job-20", best=Scores(step=9, validation_loss=0.7, bits_per_character=1.01))
    fake.jobs[20] = better
    push(fake)
    expect(row.locator(".best")).to_have_text("1.010")
    expect(row.locator(".pick input")).to_be_checked()
    expect(row.get_by_role("link", name="job-20")).to_be_focused()
    assert row.evaluate("(row) => row === window.row && window.isTheSamePage")
    assert row.evaluate("(row) => row.getBoundingClientRect().top") == top


def test_new_run_appears_and_one_that_is_gone_goes(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record("job-2"), job_record("job-1")]
    page = visit("/")
    page.get_by_role("link", name="job-2").focus()
    fake.jobs = [job_record("job-3", state=JobState.QUEUED), job_record("job-2")]
    push(fake)
    expect(page.locator("tbody .name a")).to_have_text(["job-3", "job-2"])
    expect(page.get_by_role("link", name="job-2")).to_be_focused()
    expect(page.locator("#found")).to_have_text("2 runs")
    fake.until(lambda: fake.watched[-1] == ["job-3", "job-2"])  # the new run is watched from now on


def test_first_run_takes_the_place_of_the_command_to_type(visit: Visit, fake: FakeV1) -> None:
    page = visit("/")
    expect(page.get_by_text("unroll submit FILE --watch")).to_be_visible()
    fake.jobs = [job_record("job-1")]
    push(fake)
    expect(page.get_by_role("link", name="job-1")).to_be_visible()
    page.locator(".pick input").first.check()
    expect(page.get_by_role("button", name="Cancel")).to_be_enabled()


def test_ended_runs_are_not_watched_and_hidden_tabs_watch_nothing(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record("job-2"), job_record("job-1", state=JobState.SUCCEEDED)]
    page = visit("/")
    fake.until(lambda: fake.open_streams == 1)
    assert fake.watched == [["job-2"]]
    page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    fake.until(lambda: fake.open_streams == 0)


def test_picked_runs_are_cancelled_together(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record(f"job-{n}") for n in range(3)]
    page = visit("/")
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_disabled()
    page.get_by_label("Select job-0").check()
    page.get_by_label("Select job-2").check()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    cancel.click()
    expect(page.locator(".toast")).to_contain_text("Cancelled 2.")
    assert asked == ["Cancel these 2 runs? A run that was cancelled can be retried from its last checkpoint."]
    assert fake.sent == [("cancel", "job-0"), ("cancel", "job-2")]
    expect(page.locator(".pick input:checked")).to_have_count(0)


def test_refused_cancel_says_why(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    fake.jobs = [job_record("job-0")]
    fake.refusals["cancel"] = refusal(403, "this key has the scopes read <b>\u202e")
    page = visit("/")
    page.get_by_label("Select all runs on this page").check()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".toast.alarm")).to_contain_text("this key has the scopes read <b>⟨U+202E⟩")
    assert [said[:3] for said in complaints.said] == ["403", "err"]
    complaints.said.clear()


def test_two_picked_runs_are_compared(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record(f"job-{n}") for n in range(12)]
    page = visit("/")
    compare = page.get_by_role("button", name="Compare")
    page.get_by_label("Select job-1", exact=True).check()
    expect(compare).to_be_disabled()
    page.get_by_label("Select all runs on this page").check()
    expect(compare).to_be_disabled()  # twelve are too many
    page.get_by_label("Select all runs on this page").uncheck()
    page.get_by_label("Select job-1", exact=True).check()
    page.get_by_label("Select job-3").check()
    compare.click()
    page.wait_for_url("**/compare?jobs=job-1,job-3")


def test_filter_leads_to_an_address_of_what_was_filled_in_alone(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record("job-1"), job_record("job-2", state=JobState.FAILED)]
    page = visit("/?sort=best")
    page.get_by_label("Name or network").fill("job")
    page.get_by_label("State").select_option("failed")
    page.wait_for_url("**/?q=job&state=failed&sort=best")
    expect(page.locator("tbody .name a")).to_have_text(["job-2"])
    page.get_by_role("link", name="All runs").click()
    page.wait_for_url(f"{fake.url}/")


def test_list_run_and_tabs_are_reached_by_keyboard_alone(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record("job-1", name="Shakespeare")]
    fake.log = ["a line"]
    page = visit("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "row-job-1":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/job-1")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Logs":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/job-1/logs")
    expect(page.locator("#log")).to_have_text("a line\n")


def test_theme_is_kept_and_nothing_is_drawn_in_another(visit: Visit, complaints: Complaints) -> None:
    page = visit("/", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.route("**/static/*.js", lambda route: route.abort() if "theme" not in route.request.url else route.continue_())
    page.reload(wait_until="domcontentloaded")  # the first colours are the chosen ones, whatever comes later
    assert page.evaluate(ground) == dark
    page.unroute_all()
    complaints.said.clear()
    page.reload()
    page.get_by_label("Colours").select_option("")
    assert page.evaluate(ground) == light
