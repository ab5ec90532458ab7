"""The lecture on a whole service: its trainings run, its figures are drawn from what they left. Only shorter."""

import json
from collections.abc import Iterator

import pytest
from complaints import Complaints
from playwright.sync_api import Browser, Page, Route, expect

from tests.running_service import Service

pytestmark = pytest.mark.system

STEPS = 20
PATIENCE = 200_000


def shorter(route: Route) -> None:
    """The order as the page sends it, but for its length."""
    spec = json.loads(route.request.post_data or "")
    train = spec["train"]
    if train["max_steps"] > STEPS:
        every = STEPS // (train["max_steps"] // train["checkpoint_every_steps"])
        train |= {"max_steps": STEPS, "validate_every_steps": every, "checkpoint_every_steps": every}
    route.continue_(post_data=json.dumps(spec))


@pytest.fixture
def page(chromium: Browser, service: Service, complaints: Complaints) -> Iterator[Page]:
    context = chromium.new_context()
    complaints.listen(context)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    url = str(service.api.base_url).rstrip("/")
    page.goto(f"{url}/login?next=/lecture/ko")
    page.get_by_label("API key").fill((service.home / "api_key").read_text().strip())
    page.get_by_role("button", name="Log in").click()
    page.locator('#lecture[data-is-ready="yes"]').wait_for()
    page.route(lambda address: address == f"{url}/v1/jobs", shorter)
    yield page
    context.close()


def test_hello_is_trained_live_and_read_from_its_own_weights(page: Page) -> None:
    expect.set_options(timeout=PATIENCE)
    page.get_by_role("button", name="지금 학습하기").click()
    expect(page.locator("#hello-jobs")).to_contain_text("완료")
    expect(page.locator("#hello-checkpoint + output")).to_have_text(f"스텝 {STEPS} 이후")
    # Computed in the browser from the exported weights; the sampler rounds probabilities to four digits.
    expect(page.locator("#hello-check")).to_contain_text("0.0000")
    expect(page.locator("#hello-loss .series")).to_have_count(1)
    page.locator("#sampling-model").select_option(label="h-e-l-l-o")
    expect(page.locator("#sampling-bars tr")).to_have_count(4)
    page.get_by_role("button", name="한 글자 쓰기").click()
    expect(page.locator("#hello-written")).not_to_have_text("h")
    page.reload()
    expect(page.locator("#hello-checkpoint + output")).to_have_text(f"스텝 {STEPS} 이후")


def test_vanishing_gradient_is_drawn_from_runs_of_the_service(page: Page, service: Service) -> None:
    expect.set_options(timeout=PATIENCE)
    page.get_by_role("button", name="RNN, GRU, LSTM 학습하기").click()
    expect(page.locator("#vanishing-table tbody tr")).to_have_count(6)
    listed = service.api.get("/v1/jobs", params={"metadata[lecture]": "vanishing"}).json()["data"]
    for row, job in enumerate(reversed(listed)):
        step = job["progress"]["step"]
        seen = service.api.get(f"/v1/jobs/{job['id']}/checkpoints/{step}/inspection").json()
        cells = page.locator("#vanishing-table tbody tr").nth(row).locator("td")
        norm = seen["gradient"]["layers"][0]["hidden"][1]
        assert float(cells.nth(2).text_content() or "") == pytest.approx(norm, abs=0.0051)
    expect(page.locator("#vanishing-drawing")).to_contain_text("tbptt_steps = 24")
    expect(page.locator("#vanishing-drawing .series")).to_have_count(6)
    page.reload()
    expect(page.locator("#vanishing-table tbody tr")).to_have_count(6)
