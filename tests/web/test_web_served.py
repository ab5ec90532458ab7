"""The pages over a real service: a run submitted from the page trains before one's eyes, and its end shows."""

import re
from collections.abc import Iterator

import pytest
from complaints import Complaints
from playwright.sync_api import Browser, Page, expect

from services.web import sessions
from tests.running_service import Service, running, wait_for

pytestmark = pytest.mark.system

TEXT = "the cat sat on the mat and the dog ran at the hat. " * 400


@pytest.fixture(scope="module")
def served() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture
def page(served: Service, chromium: Browser, complaints: Complaints) -> Iterator[Page]:
    context = chromium.new_context()
    context.set_default_timeout(30_000)
    complaints.listen(context)
    page = context.new_page()
    page.goto(f"{served.api.base_url}/login?next=/submit")
    page.get_by_label("API key").fill((served.home / "api_key").read_text())
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/submit")
    yield page
    context.close()


def number(page: Page, fact: str) -> int:
    return int(page.locator(fact).inner_text().replace(",", "").replace("–", "0"))


def submit(page: Page, name: str, steps: int) -> str:
    """Fills in the page as a person would; the id of the run that it leads to."""
    page.get_by_label("Upload a file").set_input_files(
        {"name": "cats.txt", "mimeType": "text/plain", "buffer": TEXT.encode()}  # type: ignore[arg-type]
    )
    expect(page.locator("#upload-note")).to_have_text("Stored.")
    fields = {"name": name, "hidden size": "24", "batch size": "4", "tbptt steps": "16", "max steps": str(steps)}
    for label, value in fields.items():
        page.get_by_label(label, exact=True).first.fill(value)
    page.get_by_text("Training", exact=True).click()
    page.get_by_label("validate every steps").fill("50")
    page.get_by_label("checkpoint every steps").fill("50")
    page.get_by_role("button", name="Train").click()
    page.wait_for_url(re.compile(r"/jobs/job-[0-9a-f]{16}$"))
    return page.url.rpartition("/")[2]


def test_run_submitted_from_the_page_trains_before_ones_eyes(page: Page, served: Service) -> None:
    page.get_by_label("batch size").fill("0")
    page.get_by_role("button", name="Train").click()
    expect(page.locator('[data-field="dataset"] .refusal')).to_be_visible()  # the first fault: no data set yet
    job = submit(page, "<b>cats</b>", 1_000_000)
    page.evaluate("window.isTheSamePage = true")
    expect(page.locator("#run-state")).to_have_text("running")
    expect(page.locator("#live")).to_have_text("live")
    wait_for(lambda: number(page, "#fact-step") > 60, 60, lambda: "steps to show")
    before = (page.locator("#curve canvas").evaluate("(c) => c.toDataURL()"), number(page, "#fact-step"))
    wait_for(lambda: number(page, "#fact-step") > before[1], 30, lambda: "a step more")
    assert page.locator("#curve canvas").evaluate("(c) => c.toDataURL()") != before[0]
    expect(page.locator("#samples pre").first).to_be_visible()
    assert page.evaluate("window.isTheSamePage")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#run-state")).to_have_text("cancelled")
    expect(page.locator("#live")).to_have_text("ended")
    assert served.job(job)["state"] == "cancelled"
    page.get_by_role("link", name="Samples").click()
    expect(page.locator("#samples h2").last).to_have_text("Step 50")
    page.get_by_role("link", name="Logs").click()
    expect(page.locator("#log")).to_contain_text("checkpoint at step 50")
    page.get_by_role("link", name="System").click()
    expect(page.get_by_role("row", name=f"{job}:step-50").first).to_be_visible()
    page.get_by_role("link", name="Charts").click()
    expect(page.locator("#charts h2").first).to_have_text("Loss")
    page.get_by_label("Along").select_option("wall")
    page.get_by_label("Along").select_option("passes")
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("row", name="<b>cats</b>")).to_contain_text("cancelled")


def test_restarted_service_takes_up_the_page_that_is_open_and_no_point_is_lost(
    page: Page, served: Service, complaints: Complaints
) -> None:
    job = submit(page, "through", 1_000_000)
    wait_for(lambda: number(page, "#fact-step") > 20, 60, lambda: "steps to show")
    (app,) = [process for process in served.family() if "services.app" in process.cmdline()]
    app.kill()
    app.wait(10)
    expect(page.locator("#live")).to_have_text("connection lost, trying again")
    expect(page.locator("#live")).to_have_text("live", timeout=60_000)
    at = number(page, "#fact-step")
    wait_for(lambda: number(page, "#fact-step") > at, 60, lambda: "steps after the restart")
    served.api.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    expect(page.locator("#run-state")).to_have_text("cancelled")
    told = [event["data"]["step"] for event in served.events(job) if event["type"] == "metrics"]
    shown = page.locator("#curve").get_attribute("data-points")
    history = served.api.get(f"/v1/jobs/{job}/metrics").json()["data"]
    assert len(told) > 10
    assert int(shown or 0) >= len(set(told)) or int(shown or 0) == len(history)
    assert [said for said in complaints.said if "net::ERR_" not in said and not said.startswith("50")] == []
    complaints.said.clear()


def test_two_runs_are_compared_and_write_on(page: Page, served: Service) -> None:
    dataset = served.upload(TEXT)
    jobs = [served.submit(dataset, model={"cell": cell})["id"] for cell in ("gru", "rnn")]
    for job in jobs:
        assert served.ended(job)["state"] == "succeeded"
    page.goto(f"{served.api.base_url}/compare?jobs={','.join(jobs)}")
    expect(page.locator("#compared .differs")).to_have_text(["model.cellgrurnn"])
    expect(page.get_by_role("region", name="Training loss").locator("canvas")).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill("the ")
    page.get_by_role("button", name="Write").click()
    for output in page.locator("#written pre").all():
        expect(output).to_have_text(re.compile(r"^the [a-z. ]{200}$", re.DOTALL), timeout=60_000)
    page.goto(f"{served.api.base_url}/?q=gru")
    expect(page.locator("tbody .name a")).to_have_count(1)
    assert sessions.COOKIE_NAME in {cookie["name"] for cookie in page.context.cookies()}
