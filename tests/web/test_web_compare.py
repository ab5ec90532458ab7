"""The comparison in a real Chromium: curves over one another, what differs, what each run writes, and how fast."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from complaints import Complaints
from fake_v1 import DATASET, FakeV1, job_record, metrics_row
from playwright.sync_api import Page, expect

from rnncore.spec import JobSpec
from services.jobqueue.records import JobState, Scores

pytestmark = pytest.mark.system

Visit = Callable[..., Page]
HOSTILE = "<img src=x>\u202e"
REDRAW_MILLISECONDS = 200


def add_run(fake: FakeV1, number: int, *, state: JobState = JobState.SUCCEEDED, **spec: Any) -> None:
    asked = JobSpec.model_validate({"dataset": DATASET, **spec})
    best = Scores(step=20, validation_loss=1 + number, bits_per_character=2)
    fake.jobs.append(job_record(f"job-{number}", spec=asked, state=state, best=best))
    fake.histories[f"job-{number}"] = [
        metrics_row(step, loss=number + 10 / step, validation=number if step % 20 == 0 else None)
        for step in range(10, 50, 10)
    ]


def chart(page: Page, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def test_runs_stand_beside_one_another_with_what_differs_alone(visit: Visit, fake: FakeV1) -> None:
    add_run(fake, 1, name=HOSTILE, model={"cell": "gru"})
    add_run(fake, 2, name="second", train={"learning_rate": 0.01})
    page = visit("/compare?jobs=job-1,job-2,job-1&jobs=gone")
    expect(page.get_by_role("alert")).to_contain_text("There is no run gone")
    expect(page.locator("#compared thead bdi")).to_have_text(["<img src=x>⟨U+202E⟩", "second"])
    expect(page.locator("#compared .differs")).to_have_text(["model.cellgrulstm", "train.learning_rate0.0040.01"])
    expect(page.get_by_role("row", name="Best validation loss")).to_have_text("Best validation loss2.00003.0000")
    expect(page.locator("#charts h2")).to_have_text(
        ["Validation loss", "Training loss", "Gradient norm", "Characters per second"]
    )
    validation = chart(page, "Validation loss")
    expect(validation.locator(".curve")).to_have_attribute("data-points", "2")
    validation.get_by_text("In numbers").click()
    assert validation.locator(".numbers td").all_text_contents() == ["40", "1.000", "2.000", "20", "1.000", "2.000"]
    expect(validation.locator(".u-legend .u-label")).to_have_text(["Step", "<img src=x>⟨U+202E⟩", "second"])
    assert page.locator("img[src=x]").count() == 0


def test_curve_of_a_run_that_goes_on_moves_and_keeps_the_zoom(visit: Visit, fake: FakeV1) -> None:
    add_run(fake, 1)
    add_run(fake, 2, state=JobState.RUNNING)
    page = visit("/compare?jobs=job-1,job-2")
    training = chart(page, "Training loss")
    expect(training.locator(".curve")).to_have_attribute("data-points", "4")
    fake.until(lambda: fake.watched == [["job-2"]])
    fake.histories["job-2"].append(metrics_row(50))
    fake.wake()
    expect(training.locator(".curve")).to_have_attribute("data-points", "5")


def test_same_prompt_is_written_on_by_each_run(visit: Visit, fake: FakeV1) -> None:
    for number in (1, 2, 3, 4):
        add_run(fake, number)
    fake.completion = [HOSTILE]
    page = visit("/compare?jobs=job-1,job-2,job-3,job-4")
    page.get_by_role("textbox", name="Prompt").fill("KING:")
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#written pre")).to_have_text(["KING:<img src=x>⟨U+202E⟩"] * 4)
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    assert sorted(asked["model"] for asked in fake.completion_requests) == [f"job-{n}" for n in (1, 2, 3, 4)]
    asked = {"prompt": "KING:", "max_tokens": 200, "temperature": 0.8, "seed": 1, "stream": True}
    assert [{**one, "model": ""} for one in fake.completion_requests] == [{**asked, "model": ""}] * 4


def test_eleventh_run_is_left_out_and_no_run_says_what_to_do(visit: Visit, fake: FakeV1) -> None:
    for number in range(1, 12):
        add_run(fake, number)
    page = visit("/compare?jobs=" + ",".join(f"job-{n}" for n in range(1, 12)))
    expect(page.get_by_role("alert")).to_have_text("10 runs are compared at once; 1 more were left out.")
    expect(page.locator("#compared thead bdi")).to_have_count(10)
    page.goto(fake.url + "/compare")
    expect(page.get_by_text("Pick two runs or more")).to_be_visible()


def test_ten_runs_of_ten_thousand_points_are_redrawn_in_time(visit: Visit, fake: FakeV1) -> None:
    for number in range(1, 11):
        add_run(fake, number)
        fake.histories[f"job-{number}"] = [
            metrics_row(step, loss=number / 10 + 3 / math.log(step + 2)) for step in range(1, 10_001)
        ]
    page = visit("/compare?jobs=" + ",".join(f"job-{n}" for n in range(1, 11)))
    expect(chart(page, "Training loss").locator(".curve")).to_have_attribute("data-points", "10000", timeout=60_000)
    taken = page.evaluate(
        """async () => {
          const { Chart, precise } = await import("/static/chart.js");
          const { X_AXES } = await import("/static/loss_axes.js");
          const element = document.createElement("div");
          document.getElementById("charts").append(element);
          const colours = Array.from({ length: 10 }, (_, at) => `--series-${at + 1}`);
          const series = colours.map((colour) => ({ label: colour, colour, kind: "line" }));
          const chart = new Chart(element, { x: X_AXES.step, y: { label: "", format: precise }, series });
          const x = Array.from({ length: 10_000 }, (_, at) => at + 1);
          const columns = [x, ...series.map((_, n) => x.map((step) => n / 10 + 3 / Math.log(step + 2)))];
          chart.show(() => columns);
          chart.drawNow();
          const taken = [];
          for (let turn = 0; turn < 9; turn += 1) {
            await new Promise(requestAnimationFrame);
            const began = performance.now();
            chart.setZoom(turn % 2 ? null : [1000 + turn, 9000]);
            await Promise.resolve();
            taken.push(performance.now() - began);
          }
          chart.remove();
          element.remove();
          return taken.sort((a, b) => a - b)[4];
        }"""
    )
    print(f"10 runs x 10,000 points: redrawn in {taken:.0f} ms (median of 9)")
    assert taken < REDRAW_MILLISECONDS


def test_missing_history_is_an_empty_chart_and_not_a_broken_page(
    visit: Visit, fake: FakeV1, complaints: Complaints
) -> None:
    add_run(fake, 1, state=JobState.QUEUED)
    fake.histories["job-1"] = []
    page = visit("/compare?jobs=job-1")
    expect(page.get_by_text("the same in every field")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_text("1 run compared")
    assert complaints.said == []
