"""The pages in a real Chromium: readable without JavaScript, at every width, in the server's own words."""

import re
from collections.abc import Callable

import pytest
from fake_v1 import FakeV1, job_record, metrics_row
from playwright.sync_api import Page, expect

from services.jobqueue.records import Checkpoint, JobError, JobState, QueuePlace
from services.web import text

pytestmark = pytest.mark.system

Visit = Callable[..., Page]


def test_list_and_job_read_without_javascript(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record("job-1", name="Shakespeare"), job_record("job-2", state=JobState.FAILED)]
    page = visit("/jobs/job-1", java_script_enabled=False)
    expect(page.get_by_role("heading", name="Shakespeare")).to_be_visible()
    expect(page.locator("#fact-best")).to_have_text("1.573")
    expect(page.locator("#fact-eta")).to_have_text("2 min")
    expect(page.get_by_text("The curve needs JavaScript")).to_be_visible()
    page.goto(fake.url + "/")
    expect(page.get_by_role("table", name="Runs").get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("row").nth(1)).to_have_text(
        re.compile(
            r"running\s*Shakespeare\s*lstm 320x1\s*shakespeare\.txt\s*42 %\s*2 min left\s*1\.573\s*51,234\s*3 min"
        )
    )


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/login", "/submit?from=job-1", "/compare?jobs=job-1,job-2"),
        *(f"/jobs/job-1{tab}" for tab in ("", "/charts", "/samples", "/logs", "/system", "/config", "/events")),
    ],
)
def test_no_width_scrolls_sideways(visit: Visit, fake: FakeV1, path: str) -> None:
    long = {"prompt": "x" * 500, "text": "y" * 500}
    error = JobError(type="z" * 99, message="m" * 500, hint="h" * 300, log_tail="l" * 500)
    fake.jobs = [
        job_record("job-1", name="w" * 200, state=JobState.FAILED, error=error, warnings=["n" * 300]),
        job_record("job-2", state=JobState.QUEUED, queue=QueuePlace(position=10**6, reason="quota", eta_seconds=1e9)),
    ]
    fake.history = [metrics_row(step, loss=2, validation=1.5) for step in (1_000_000, 2_000_000)]
    fake.log = ["q" * 1000]
    fake.samples = [{"step": 10, "epoch": 1, "bits_per_character": 2.5, "samples": [long]}]
    fields = {"job": "job-1", "epoch": 1, "path": "p", "created_at": 0, "parameters_sha256": "3" * 64}
    fake.checkpoints = [Checkpoint(model="job-1:step-1000000", step=1_000_000, **fields)]
    page = visit(path, viewport={"width": 320, "height": 700})
    if "charts" in path or "compare" in path:
        expect(page.locator("canvas").first).to_be_visible()
    if "samples" in path or "logs" in path:
        expect(page.locator(".sample, #log .line").first).to_be_visible()
    for width in (320, 375, 700, 1000, 1440, 2560):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


def test_bar_page_and_foot_begin_and_end_together_on_a_wide_screen(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    page = visit("/", viewport={"width": 2560, "height": 900})
    first = page.locator(".brand, main h1, .jobs")
    assert {round(box["x"]) for one in first.all() if (box := one.bounding_box())} == {456}
    last = page.locator(".bar-end, .jobs")
    assert {round(box["x"] + box["width"]) for one in last.all() if (box := one.bounding_box())} == {2104}
    for path, narrow in (("/login", ".login"), ("/sweeps/new", ".narrow")):
        page.goto(fake.url + path)
        starts = page.evaluate(
            "all => all.map(one => document.querySelector(one).getBoundingClientRect().left)", [narrow, ".foot"]
        )
        assert starts[0] == starts[1] + 16, path  # the foot's own padding


@pytest.mark.parametrize(("tab", "rows"), [("events", "#events tr"), ("config", ".config tbody tr")])
def test_events_and_configuration_are_read_whole_on_a_phone(visit: Visit, fake: FakeV1, tab: str, rows: str) -> None:
    fake.jobs = [job_record(name="a name of some length that does not fit beside the field that it is the value of")]
    fake.push("message", {"level": "warning", "text": "the gradient was longer than gradient_clip_norm again"})
    page = visit(f"/jobs/job-1/{tab}", viewport={"width": 320, "height": 700})
    expect(page.locator(rows).filter(has_text=re.compile("gradient was|a name of"))).to_have_count(1)
    outside = page.locator(f"{rows} :is(th, td)").evaluate_all(
        "all => all.filter(cell => cell.getBoundingClientRect().right > 320 || cell.offsetHeight > 80)"
        ".map(cell => cell.textContent)"
    )
    assert outside == []
    expect(page.get_by_role("row").nth(2 if tab == "config" else 1)).to_be_visible()  # laid out as cards, still a table


def test_browser_and_server_write_values_alike(visit: Visit) -> None:
    page = visit("/login", log_in=False)
    codes = [*range(0x3100), *range(0xD7FF, 0xE001), 0xFEFF, *range(0xFFF0, 0x10000), *range(0xDFFFF, 0xE0081)]
    seconds = [0, 0.9, 59.99, 60, 3599, 3600, 86_399, 86_400, 1e7]
    numbers = [0, 0.4, 0.5, 1.5, 999, 1000, 1_234_567.8, 1e12]
    losses = [0, 1.23456, 12.9996, 1e-9]
    browser = page.evaluate(
        """async ([codes, seconds, numbers, losses]) => {
          const text = await import("/static/text.js");
          const seen = (code) => Array.from(text.visible(String.fromCodePoint(code)), (c) => c.codePointAt(0));
          return [
            codes.map(seen),
            [null, ...seconds].map(text.span),
            [null, ...numbers].map(text.count),
            [null, ...losses].map((loss) => text.decimals(loss, 3)),
            losses.map(text.percent),
          ];
        }""",
        [codes, seconds, numbers, losses],
    )
    assert browser == [
        [[ord(symbol) for symbol in text.visible(chr(code))] for code in codes],
        [text.span(value) for value in (None, *seconds)],
        [text.count(value) for value in (None, *numbers)],
        [text.decimals(value, 3) for value in (None, *losses)],
        [text.percent(value) for value in losses],
    ]
