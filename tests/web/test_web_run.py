"""The tabs of a run in a real Chromium: charts, samples, log, configuration, events, and what can be done to it."""

from collections.abc import Callable
from typing import Any

import pytest
from complaints import Complaints
from fake_v1 import DATASET, FakeV1, job_record, metrics_row, refusal
from playwright.sync_api import Page, expect

from rnncore.spec import JobSpec
from services.jobqueue.records import Checkpoint, JobError, JobState, Placement, QueuePlace, TrialOf

pytestmark = pytest.mark.system

Visit = Callable[..., Page]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202eevil\x1b[31m"
SHOWN = "<img src=x onerror=\"document.title='owned'\">⟨U+202E⟩evil⟨U+001B⟩[31m"


def rows(steps: range, **changes: Any) -> list[dict[str, Any]]:
    return [metrics_row(step, loss=1 + 100 / step) | changes for step in steps]


def loss_chart(page: Page) -> Any:
    return page.get_by_role("region", name="Loss", exact=True)


def picture(page: Page) -> str:
    return str(loss_chart(page).locator("canvas").evaluate("(canvas) => canvas.toDataURL()"))


def points(page: Page, number: int) -> None:
    expect(loss_chart(page).locator(".curve")).to_have_attribute("data-points", str(number))


def test_every_series_has_a_chart_with_best_last_and_a_table(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    measured = {
        "validation_loss": 1.5,
        "bits_per_character": 2.164,
        "metrics": {"bits_per_character": 2.164, "word_accuracy": 0.25},
    }
    fake.history = [*rows(range(10, 50, 10)), metrics_row(50) | measured, metrics_row(60)]
    fake.history.append(metrics_row(70) | measured | {"validation_loss": 1.75, "metrics": {"word_accuracy": 0.5}})
    page = visit("/jobs/job-1/charts")
    expect(page.locator("#charts h2")).to_have_text(
        ["Loss", "Bits per character", "Gradient norm", "Learning rate", "Characters per second", "word accuracy"]
    )
    expect(loss_chart(page).locator(".summary")).to_have_text("last 1.750 · best 1.500 at step 50")
    accuracy = page.get_by_role("region", name="word accuracy", exact=True)
    expect(accuracy.locator(".summary")).to_have_text("last 0.500 · best 0.500 at step 70")
    accuracy.get_by_text("In numbers").click()
    expect(accuracy.locator(".numbers td")).to_have_text(["70", "0.500", "50", "0.250"])
    loss_chart(page).get_by_text("In numbers").click()
    first = loss_chart(page).locator(".numbers tbody tr").first
    expect(first.locator("td")).to_have_text(["70", "2.000", "1.750"])
    fake.push("metrics", metrics_row(80, loss=1.25))
    expect(loss_chart(page).locator(".numbers tbody tr").first).to_have_text("801.250–")


def test_address_keeps_how_the_curves_are_drawn(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.history = [row | {"passes": row["step"] / 7} for row in rows(range(10, 500, 10))]
    page = visit("/jobs/job-1/charts")
    points(page, 49)
    drawn = [picture(page)]
    page.get_by_label("Along").select_option("passes")
    page.get_by_label("Smoothing").fill("0.9")
    page.get_by_label("log y").check()
    page.wait_for_url("**/charts?x=passes&smooth=0.9&logy=1")
    expect(loss_chart(page).locator(".u-legend")).to_contain_text("Passes")
    drawn.append(picture(page))
    page.reload()
    points(page, 49)
    expect(page.get_by_label("Along")).to_have_value("passes")
    expect(page.locator("#smooth-value")).to_have_text("0.90")
    expect(page.get_by_label("log y")).to_be_checked()
    assert len(set(drawn)) == 2


def test_update_leaves_zoom_smoothing_and_scroll_as_they_are(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.history = rows(range(10, 1010, 10))
    page = visit("/jobs/job-1/charts?smooth=0.8", viewport={"width": 900, "height": 600})
    points(page, 100)
    box = loss_chart(page).locator(".u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    page.mouse.up()
    whole = page.get_by_role("button", name="Whole run")
    expect(whole).to_be_enabled()
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 150)")
    zoomed = picture(page)
    fake.push("metrics", metrics_row(100_000))
    points(page, 101)
    assert picture(page) == zoomed
    assert page.evaluate("scrollY") == 150
    expect(page.locator("#smooth-value")).to_have_text("0.80")
    whole.click()
    expect(whole).to_be_disabled()
    assert picture(page) != zoomed


def test_what_was_not_a_number_breaks_the_curve_and_attempts_are_marked(visit: Visit, fake: FakeV1) -> None:
    page = visit("/login", log_in=False)
    found = page.evaluate(
        """async () => {
          const { History, always, smoothed, validated } = await import("/static/history.js");
          const history = new History();
          const rows = [[1, 1, 4], [2, 1, null], [3, 1, 2, 1.5], [4, 3, 1]];
          for (const [step, epoch, train_loss, validation_loss = null] of rows) {
            history.add({ step, epoch, train_loss, validation_loss, at: 100 + step });
          }
          const losses = history.column(always("train_loss"));
          const validations = history.column(validated("validation_loss")).map((v) => v === undefined ? "none" : v);
          return [losses, smoothed(losses, 0.5), smoothed(losses, 0), validations,
                  history.starts("wall"), history.has("passes"), history.axis("wall")];
        }"""
    )
    assert found == [
        [4, None, 2, 1],
        [4, None, pytest.approx(8 / 3), pytest.approx(12 / 7)],
        [4, None, 2, 1],
        ["none", "none", 1.5, "none"],
        [{"x": 3, "label": "attempt 2"}],
        False,
        [0, 1, 2, 3],
    ]


def test_long_history_is_thinned_and_keeps_extremes_and_validations(visit: Visit, fake: FakeV1) -> None:
    page = visit("/login", log_in=False)
    kept = page.evaluate(
        """async () => {
          const { History } = await import("/static/history.js");
          const history = new History(100);
          for (let step = 1; step <= 101; step += 1) {
            const train_loss = step === 7 ? 99 : step === 10 ? -99 : step % 4;
            history.add({ step, epoch: 1, train_loss, validation_loss: step === 6 ? 1 : null });
          }
          return history.points.map((row) => row.step);
        }"""
    )
    assert {6, 7, 10} <= set(kept)
    assert 70 <= len(kept) < 80
    assert kept[-51:] == list(range(51, 102))


def test_samples_stand_by_checkpoint_newest_first_and_new_ones_come(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    row = {"epoch": 1, "bits_per_character": 2.5}
    fake.samples = [row | {"step": step, "samples": [{"prompt": HOSTILE, "text": str(step)}]} for step in (10, 20)]
    page = visit("/jobs/job-1/samples")
    expect(page.locator("#samples pre")).to_have_text([SHOWN + "20", SHOWN + "10"])
    fake.push("checkpoint", row | {"epoch": 2, "step": 20, "samples": [{"prompt": "", "text": HOSTILE}]})
    expect(page.locator("#samples pre")).to_have_text([SHOWN, SHOWN + "10"])
    expect(page.locator("#samples h2")).to_have_text(["Step 20", "Step 10"])
    assert page.locator("img[src=x]").count() == 0


def test_log_grows_is_searched_and_stays_text(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.log = ["2026-11-25T10:00:00Z info attempt 1", f"2026-11-25T10:00:01Z error {HOSTILE}"]
    page = visit("/jobs/job-1/logs")
    expect(page.locator("#log .line")).to_have_count(2)
    expect(page.locator("#log .error")).to_have_text(f"2026-11-25T10:00:01Z error {SHOWN}\n")
    page.get_by_label("Lines with").fill("attempt")
    expect(page.locator("#log-count")).to_have_text("1 of 2 lines")
    fake.log.append("2026-11-25T10:00:02Z info attempt 2")
    fake.push("message", {"level": "info", "text": "x"})
    expect(page.locator("#log-count")).to_have_text("2 of 3 lines")
    assert page.locator("img[src=x]").count() == 0


def test_config_shows_every_field_what_was_set_and_how_to_ask_again(visit: Visit, fake: FakeV1) -> None:
    spec = JobSpec.model_validate(
        {
            "dataset": DATASET,
            "name": "it's",
            "model": {"cell": "gru"},
            "train": {"weight_decay": 0.5},
            "metadata": {"a": HOSTILE},
        }
    )
    fake.jobs = [job_record(spec=spec)]
    page = visit("/jobs/job-1/config", java_script_enabled=False)
    assert page.locator("tr.set th").all_text_contents() == ["name", "model.cell", "train.weight_decay", "metadata"]
    expect(page.get_by_role("row", name="train.weight_decay")).to_have_text("train.weight_decay0.50.01")
    expect(page.locator("#command")).to_contain_text(
        f"unroll submit {DATASET} --name 'it'\"'\"'s' --cell gru --set train.weight_decay=0.5"
    )
    assert JobSpec.model_validate_json(page.locator("#json").inner_text()) == spec


def test_trial_leads_to_its_sweep_and_says_why_it_was_stopped(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record(trial=TrialOf(sweep="sweep-1", number=4, stopped_early="halving"))]
    page = visit("/jobs/job-1")
    expect(page.get_by_text("Trial 4 of sweep-1, stopped early: halving.")).to_be_visible()
    assert page.get_by_role("link", name="sweep-1").get_attribute("href") == "/sweeps/sweep-1"


def test_system_shows_placement_and_checkpoints_to_download(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [
        job_record(
            placement=Placement(start="warm", node="n", pid=7, device="H100", threads=3, fused_with=("job-2", "job-3")),
            attempt=2,
        )
    ]
    page = visit("/jobs/job-1/system")
    expect(page.get_by_text("None yet; the first comes at step 500")).to_be_visible()
    assert page.get_by_role("link", name="job-2").get_attribute("href") == "/jobs/job-2"
    fields = {
        "job": "job-1",
        "epoch": 1,
        "path": "p",
        "created_at": 0,
        "parameters_sha256": "3" * 64,
        "num_bytes": 1_500_000,
    }
    fake.checkpoints = [Checkpoint(model="job-1:step-8", step=8, is_best=True, **fields)]
    fake.push("checkpoint", {"step": 8, "epoch": 1, "samples": []})
    expect(page.get_by_role("row", name="job-1:step-8")).to_contain_text("best")
    expect(page.get_by_role("row", name="job-1:step-8")).to_contain_text("1.5 MB")
    link = page.get_by_role("link", name="safetensors")
    assert link.get_attribute("href") == "/v1/models/job-1%3Astep-8/export?format=safetensors"


def test_events_come_newest_first_and_metrics_when_asked_for(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    fake.push("state", {"state": "running", "reason": "claimed", "attempt": 1, "epoch": 1})
    fake.push("metrics", metrics_row(10, loss=2.5))
    fake.push("message", {"level": "warning", "text": HOSTILE})
    page = visit("/jobs/job-1/events")
    expect(page.locator("#events tr:visible td:last-child")).to_have_text(
        [f"warning: {SHOWN}", "running: claimed (attempt 1)"]
    )
    page.get_by_label("metrics too").check()
    expect(page.locator("#events tr:visible td:last-child").nth(1)).to_have_text("step 10, loss 2.500")


def test_buttons_offer_what_the_state_allows_and_do_it(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record()]
    page = visit("/jobs/job-1/logs")
    offered = page.locator(".actions > *")
    expect(offered).to_have_text(["Pause", "Cancel", "Clone"])
    fake.becomes = {"pause": job_record(state=JobState.PAUSED), "cancel": job_record(state=JobState.CANCELLED)}
    page.get_by_role("button", name="Pause").click()
    expect(offered).to_have_text(["Resume", "Cancel", "Clone"])
    expect(page.locator("#run-state")).to_have_text("paused")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Cancel").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(offered).to_have_text(["Retry", "Clone", "Delete"])
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url(f"{fake.url}/")
    assert fake.sent == [("pause", "job-1"), ("cancel", "job-1"), ("delete", "job-1")]


def test_refused_retry_says_why_and_how_to_go_on(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    fake.jobs = [job_record(state=JobState.SUCCEEDED)]
    fake.refusals["retry"] = refusal(409, "job-1 succeeded and used up its limits; raise train.max_steps")
    page = visit("/jobs/job-1/config")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".toast.alarm")).to_contain_text("raise train.max_steps")
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".toast")).to_have_count(0)
    assert [said[:3] for said in complaints.said] == ["409", "err"]
    complaints.said.clear()


def test_head_says_why_a_run_waits_and_why_one_failed(visit: Visit, fake: FakeV1) -> None:
    place = QueuePlace(position=2, reason="quota", blocked_by=["job-9"], eta_seconds=61)
    fake.jobs = [job_record(state=JobState.QUEUED, queue=place)]
    page = visit("/jobs/job-1/config")
    expect(page.locator("#waits")).to_have_text("place 2: waits for its tenant's quota, starts in about 1 min")
    expect(page.get_by_role("link", name="job-9")).to_have_attribute("href", "/jobs/job-9")
    error = JobError(type="nonfinite", message=HOSTILE, hint="lower it", log_tail="last line")
    fake.jobs = [job_record(state=JobState.FAILED, error=error)]
    fake.push("state", {"state": "failed", "reason": "nonfinite", "attempt": 1, "epoch": 1})
    expect(page.locator("#run-error")).to_contain_text(f"nonfinite {SHOWN}")
    expect(page.locator("#run-error")).to_contain_text("lower it")
    page.get_by_text("Its last lines").click()
    expect(page.get_by_text("last line", exact=True)).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
