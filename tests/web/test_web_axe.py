"""Every page under axe-core, as a reader of screens meets it, light and dark. What axe does not see has own tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_v1 import FakeV1, job_record, metrics_row
from playwright.sync_api import Page, expect

from services.jobqueue.records import JobError, JobState, QueuePlace

pytestmark = pytest.mark.system

Visit = Callable[..., Page]
AXE = (Path(__file__).parent / "axe" / "axe-4.14.1.min.js").read_text()
TABS = ("", "/charts", "/samples", "/logs", "/system", "/config", "/events")
PAGES = (
    "/",
    *(f"/jobs/job-1{tab}" for tab in TABS),
    "/jobs/job-2",
    "/jobs/job-3",
    "/compare?jobs=job-1,job-2",
    "/submit",
)


def violations(page: Page) -> list[str]:
    page.evaluate(AXE)  # not as a script of the page: its policy would refuse it
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_violates_axe(visit: Visit, fake: FakeV1, scheme: str) -> None:
    place = QueuePlace(position=2, reason="quota", blocked_by=["job-1"])
    error = JobError(type="x", message="it failed", hint="do not", log_tail="a line")
    fake.jobs = [
        job_record("job-1", name="a run", warnings=["slow"]),
        job_record("job-2", state=JobState.QUEUED, queue=place),
        job_record("job-3", state=JobState.FAILED, error=error),
    ]
    fake.history = [metrics_row(step, validation=1.5) for step in (10, 20, 30)]
    fake.log = ["2026-11-25T10:00:00Z error a line"]
    fake.samples = [{"step": 10, "epoch": 1, "bits_per_character": 2, "samples": [{"prompt": "a", "text": "b"}]}]
    page = visit("/login", log_in=False, color_scheme=scheme)
    assert violations(page) == []
    page = visit("/", color_scheme=scheme)
    found = {}
    for path in PAGES:
        page.goto(fake.url + path)
        if "charts" in path or "compare" in path:
            expect(page.locator("canvas").first).to_be_visible()
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        found[path] = violations(page)
    assert {path: said for path, said in found.items() if said} == {}
