"""The inside of a job and the playground against a real service: a small network, trained, looked into, writing."""

import re
from collections.abc import Callable, Iterator

import pytest
from complaints import Complaints
from playwright.sync_api import Browser, Page, expect

from tests.running_service import Service, running

pytestmark = pytest.mark.system

TEXT = "the cat sat on the mat and the dog sat on the log.\n" * 80
Enter = Callable[[str], Page]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture(scope="module")
def job(service: Service) -> str:
    """A job with two checkpoints."""
    train = {"max_steps": 200, "checkpoint_every_steps": 100, "validate_every_steps": 200}
    submitted = service.submit(service.upload(TEXT), train=train)
    record = service.ended(submitted["id"])
    assert record["state"] == "succeeded", record
    return str(record["id"])


@pytest.fixture
def enter(chromium: Browser, service: Service, complaints: Complaints) -> Iterator[Enter]:
    """Logs in and opens a page."""
    context = chromium.new_context()
    complaints.listen(context)
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    page = context.new_page()

    def open_page(path: str) -> Page:
        page.goto(str(service.api.base_url) + path.removeprefix("/"))
        page.get_by_label("API key").fill((service.home / "api_key").read_text().strip())
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**" + path)
        return page

    yield open_page
    expect.set_options(timeout=5_000)
    context.close()


def test_inside_shows_what_the_service_measured(enter: Enter, service: Service, job: str) -> None:
    stored = service.api.get(f"/v1/jobs/{job}/checkpoints/200/inspection").json()
    page = enter(f"/jobs/{job}/inside")
    expect(page.locator("#views")).to_have_attribute("data-step", "200")
    shown = page.locator("#surprisal .symbols").text_content() or ""
    assert shown.replace("↵\n", "\n") == "".join(one["symbol"] for one in stored["symbols"])
    bits = [one["surprisal"] / 0.693147 for one in stored["symbols"][1:]]
    expect(page.locator("#surprisal .view-note b")).to_have_text(f"{sum(bits) / len(bits):.2f}")
    expect(page.locator("#gradient .plot-rule + text")).to_have_text("training stops here (16)")
    expect(page.locator("#gates svg.plot")).to_have_count(3)
    expect(page.locator("#gates svg.plot").first.locator(".plot-dot")).to_have_count(24)
    expect(page.locator("#window-loss .view-note")).to_contain_text("state carried")
    expect(page.locator("#cells .view-nothing")).to_contain_text("no other run on this data set")
    assert stored["copying"]["copied"][1] > 0.2
    expect(page.locator("#copying mark").first).to_be_visible()
    assert (page.locator("#copying mark").first.text_content() or "") in TEXT

    page.locator("#step-back").click()
    expect(page.locator("#views")).to_have_attribute("data-step", "100")
    page.get_by_label("Unit", exact=True).fill("23")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".unit :checked")).to_have_value("0:23")
    page.get_by_text("Look at a text of your own").click()
    page.locator("#own-text").fill("the dog")
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator("#surprisal .symbols")).to_have_text("the dog")
    assert re.search(r"\?step=100&layer=0&unit=23$", page.url)


def test_playground_writes_forks_and_writes_the_same_again(enter: Enter, service: Service, job: str) -> None:
    page = enter(f"/playground?model={job}%3Astep-200")
    expect(page.locator(".model-note")).to_contain_text("lstm 24x1 · step 200")
    page.get_by_label("Prompt").fill("the cat")
    page.get_by_label("Seed").fill("5")
    page.get_by_label("Characters").fill("40")
    page.get_by_role("button", name="Write").click()
    symbols = page.locator(".symbols span")
    expect(symbols).to_have_count(47)
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    request = {"model": f"{job}:step-200", "prompt": "the cat", "max_tokens": 40, "temperature": 0.8, "seed": 5}
    told = service.api.post("/v1/completions", json=request).json()["choices"][0]["text"]
    written = (page.locator(".symbols").text_content() or "").replace("↵\n", "\n")
    assert written == "the cat" + told

    page.get_by_role("button", name="Go on").click()
    expect(symbols).to_have_count(87)
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    symbols.nth(60).click()
    page.get_by_role("button", name="Fork from here").click()
    expect(symbols).to_have_count(100)
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    forked = (page.locator(".symbols").text_content() or "").replace("↵\n", "\n")
    request["prompt"] = forked[:60]
    assert forked[60:] == service.api.post("/v1/completions", json=request).json()["choices"][0]["text"]
    expect(page.locator(".column .alarm").first).to_be_hidden()
