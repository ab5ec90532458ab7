"""A page that stays open through a long training: its memory ends where it was, whatever came. `make soak`."""

import os
import statistics
import time
from collections.abc import Callable

import pytest
from fake_v1 import FakeV1, job_record, metrics_row
from playwright.sync_api import CDPSession, Page, expect

pytestmark = [pytest.mark.soak, pytest.mark.system]

Visit = Callable[..., Page]
SECONDS = float(os.environ.get("UNROLL_SOAK_SECONDS", "600"))  # that each page is left open
ROWS_A_SECOND = (
    100  # far more than a trainer sends: the history has to come to its limit, and be thinned, more than once
)
MOST_ROWS = 20_000
SAMPLES = 12


def heap_megabytes(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def counters(session: CDPSession) -> dict[str, int]:
    found = session.send("Memory.getDOMCounters")
    return {"nodes": int(found["nodes"]), "listeners": int(found["jsEventListeners"])}


@pytest.mark.timeout(3 * 600)
@pytest.mark.parametrize("tab", ["", "/charts"])
def test_page_open_through_a_long_training_takes_no_more_memory(visit: Visit, fake: FakeV1, tab: str) -> None:
    fake.jobs = [job_record()]
    # It begins with all points and all rows of the table that it keeps: what is looked for is growth beyond them.
    fake.history = [metrics_row(step, validation=1.5 if step % 100 == 0 else None) for step in range(1, MOST_ROWS)]
    page = visit(f"/jobs/job-1{tab}")
    expect(page.locator("canvas").first).to_be_visible(timeout=60_000)
    session = page.context.new_cdp_session(page)
    step, heaps, dom = MOST_ROWS, [], []
    for _ in range(SAMPLES):
        until = time.monotonic() + SECONDS / SAMPLES
        while time.monotonic() < until:
            for _ in range(ROWS_A_SECOND // 4):
                step += 1
                fake.push("metrics", metrics_row(step, validation=1.5 if step % 100 == 0 else None))
            page.wait_for_timeout(250)
        heaps.append(heap_megabytes(session))
        dom.append(counters(session))
        print(f"{tab or '/'} step {step:,}: heap {heaps[-1]:.1f} MB, {dom[-1]}")
    third = SAMPLES // 3
    middle, last = statistics.mean(heaps[third : 2 * third]), statistics.mean(heaps[2 * third :])
    print(f"heap: mean of the middle third {middle:.1f} MB, of the last {last:.1f} MB")
    assert last < middle * 1.15 + 1
    assert dom[-1]["nodes"] < dom[third]["nodes"] * 1.1 + 50
    assert dom[-1]["listeners"] <= dom[third]["listeners"] + 5
