"""Sweeps, data sets, models, queue and workers over the running service: what the pages promise happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from complaints import Complaints
from playwright.sync_api import Browser, Page, expect

from tests.running_service import Service, wait_for

pytestmark = pytest.mark.system

TRAINING_MILLISECONDS = 240_000
Open = Callable[[str], Page]


@pytest.fixture
def page(chromium: Browser, service: Service, complaints: Complaints) -> Iterator[Page]:
    """A page that is logged in."""
    with opened(chromium, service, complaints) as page:
        yield page


@contextmanager
def opened(chromium: Browser, service: Service, complaints: Complaints) -> Iterator[Page]:
    context = chromium.new_context(base_url=str(service.api.base_url))
    complaints.listen(context)
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("API key").fill((service.home / "api_key").read_text().strip())
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
    yield page
    context.close()


def test_sweep_is_started_from_an_upload_watched_to_its_end_and_its_model_found(
    page: Page, service: Service, text: str, tmp_path: Path
) -> None:
    file = tmp_path / "squares.txt"
    file.write_text(text[:10_000])
    page.goto("/datasets")
    page.get_by_label("Drop a file here").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/datasets/ds-*")
    expect(page.locator(".facts")).to_contain_text("10,000 symbols")
    expect(page.locator(".preview")).to_contain_text("zero")
    page.get_by_role("link", name="Sweep on it").click()
    page.locator("#fixed input").first.fill("10")
    page.locator("#fixed input").last.fill("10")
    page.locator("#add-fixed").click()
    page.locator("#fixed .field").last.select_option("model.hidden_size")
    page.locator("#fixed input").last.fill("16")
    page.locator("#searched .field").last.select_option("model.cell")
    page.get_by_label("model.cell values").fill("gru,rnn")
    page.get_by_label("Trials at most").fill("2")
    page.get_by_label("Alias for the best").fill("squares")
    page.get_by_role("button", name="Start the sweep").click()
    page.wait_for_url("**/sweeps/sweep-*")
    expect(page.locator("#sweep-facts [role=status]")).to_have_text("succeeded", timeout=TRAINING_MILLISECONDS)
    expect(page.locator("#parallel")).to_have_attribute("data-lines", "2")
    expect(page.locator("#course")).to_have_attribute("data-dots", "2")
    report = service.api.get(f"/v1/sweeps/{page.url.rpartition('/')[2]}").raise_for_status().json()
    expect(page.locator("#sweep-facts dd").first).to_have_text(f"{report['best']['value']:.4f}")
    page.goto("/models/squares")
    expect(page.get_by_role("link", name="Compare")).to_have_count(0)
    parameters = {"gru": 3, "rnn": 1}[report["best"]["parameters"]["model.cell"]]
    symbols, units, embedding = len(set(text[:10_000])), 16, 128
    number = symbols * embedding + parameters * units * (embedding + units + 2) + symbols * (units + 1)
    expect(page.locator("dt:text-is('Parameters') + dd")).to_have_text(f"{number:,}")
    assert page.request.get(page.get_by_role("link", name="safetensors").get_attribute("href") or "").ok


def test_running_job_is_seen_at_its_worker_and_in_the_queue_and_cancelled_there(
    page: Page, service: Service, text: str
) -> None:
    dataset = service.upload(text)
    running = service.submit(dataset, name="at work", train={"max_steps": 1_000_000})["id"]
    service.stepped(running, 1)
    waiting = service.submit(dataset, name="in line", train={"max_steps": 10})["id"]
    page.goto("/workers")
    expect(page.get_by_role("link", name="at work")).to_have_attribute("href", f"/jobs/{running}")
    expect(page.locator("#workers tbody .state").first).to_have_text("busy")
    (worker,) = service.api.get("/v1/workers").raise_for_status().json()["data"]
    assert (worker["state"], worker["jobs"], worker["num_jobs"]) == ("busy", [{"job": running, "share": 1.0}], 1)
    page.goto("/queue")
    row = page.get_by_role("table", name="Waiting").get_by_role("row").last
    expect(row).to_contain_text("every worker is taken")
    expect(row.get_by_role("link", name="at work")).to_be_visible()
    page.get_by_role("table", name="Running").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel it for good?").click()
    expect(page.get_by_role("table", name="Running").get_by_role("link", name="at work")).to_have_count(0)
    assert service.ended(running)["state"] == "cancelled"
    assert service.ended(waiting)["state"] == "succeeded"
    idle = wait_for(
        lambda: [one for one in service.api.get("/v1/workers").json()["data"] if one["state"] == "idle"],
        20,
        lambda: "the worker to be idle",
    )
    assert (idle[0]["jobs"], idle[0]["num_jobs"]) == ([], 0)
