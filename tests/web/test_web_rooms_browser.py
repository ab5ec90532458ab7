"""Sweeps, data sets, models, queue and workers in a real Chromium: drawings, filters, buttons, uploads, live parts."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from complaints import Complaints
from fake_rooms import DATASET, SWEEP, dataset_shelf, in_line, sweep_shelf, sweep_spec, trial, worker
from fake_v1 import FakeV1, job_record, refusal
from playwright.sync_api import Page, expect
from test_web_axe import violations
from test_web_browser import HOSTILE, SHOWN
from test_web_rooms import PATHS, furnished

from services.jobqueue.floor import Occupant
from services.jobqueue.line import Line
from services.jobqueue.records import JobState

pytestmark = pytest.mark.system

# Asks for the live parts at once, and is over when they are there.
REFRESH = """() => new Promise((done) => {
  document.addEventListener("live", done, { once: true });
  document.dispatchEvent(new Event("changed"));
})"""
Visit = Callable[..., Page]
PAGE = f"/sweeps/{SWEEP}"


@pytest.fixture
def fake() -> FakeV1:
    """Takes the place of the empty one; `serving` is below."""
    return furnished()


@pytest.fixture(autouse=True)
def _serving(fake: FakeV1) -> object:
    with fake.serving():
        yield fake


def scored(fake: FakeV1, number: int = 12) -> None:
    """A sweep of trials that have scores, the later the better."""
    fake.shelves.of_sweeps = [sweep_shelf([trial(n, 2 - n / 20) for n in range(number)])]


def shown_trials(page: Page) -> list[int]:
    rows = page.locator("#trials tbody tr:not([hidden])")
    return sorted(int(text) for text in rows.locator("td:first-child").all_text_contents())


def lit(page: Page) -> list[str]:
    numbers: list[str] = page.locator("#parallel .is-lit").evaluate_all("(all) => all.map((g) => g.dataset.number)")
    return numbers


def calls(fake: FakeV1) -> list[tuple[str, str]]:
    return [(method, path) for method, path, _ in fake.shelves.asked]


def test_brush_on_an_axis_filters_lines_dots_and_rows_and_the_address_keeps_it(visit: Visit, fake: FakeV1) -> None:
    scored(fake)
    page = visit(PAGE)
    expect(page.locator("#parallel")).to_have_attribute("data-lines", "12")
    expect(page.locator("#scatter")).to_have_attribute("data-dots", "12")
    grip = page.locator("#parallel .plot-grip").last.bounding_box()
    assert grip
    x, top = grip["x"] + grip["width"] / 2, grip["y"] + 8
    page.mouse.move(x, top + (grip["height"] - 16) * 0.74)
    page.mouse.down()
    page.mouse.move(x, top + (grip["height"] - 16))
    page.mouse.up()
    assert shown_trials(page) == [9, 10, 11]
    assert page.locator("#parallel g.is-out").count() == 9
    assert page.locator("#course .is-out").count() == 9
    expect(page.locator("#readout")).to_have_text("3 of 12 trials within the filters")
    assert "validation_loss=" in page.url
    page.reload()
    assert shown_trials(page) == [9, 10, 11]
    page.mouse.click(x, grip["y"] + 20)
    assert shown_trials(page) == list(range(12))
    assert "validation_loss=" not in page.url


def test_filters_work_by_keyboard_alone(visit: Visit, fake: FakeV1) -> None:
    scored(fake)
    page = visit(PAGE)
    page.get_by_text("Filter by numbers").focus()
    page.keyboard.press("Enter")
    page.get_by_label("model.cell from").select_option("gru")
    page.get_by_label("model.cell to").select_option("gru")
    assert shown_trials(page) == [1, 3, 5, 7, 9, 11]
    page.get_by_label("validation_loss to").fill("1.6")
    page.keyboard.press("Tab")
    assert shown_trials(page) == [9, 11]
    page.get_by_role("button", name="All trials").press("Enter")
    assert shown_trials(page) == list(range(12))


def test_row_and_line_light_each_other_up(visit: Visit, fake: FakeV1) -> None:
    scored(fake)
    page = visit(PAGE)
    page.get_by_role("link", name="open the run of trial 4").focus()
    assert lit(page) == ["4"]
    expect(page.locator("#readout")).to_contain_text(
        "Trial 4, succeeded · validation_loss 1.8000 · train.learning_rate"
    )
    page.locator("#scatter circle").nth(7).click()
    expect(page.get_by_role("link", name="open the run of trial 7")).to_be_focused()
    assert lit(page) == ["7"]
    expect(page.locator("tr.is-lit")).to_have_attribute("id", "trial-row-7")


def test_trial_without_a_place_on_an_axis_has_no_dot_there(visit: Visit, fake: FakeV1) -> None:
    fake.shelves.of_sweeps = [sweep_shelf([trial(0, 1.5), trial(1, 1.4, parameters={"model.cell": "gru"})])]
    page = visit(PAGE)
    expect(page.locator("#course")).to_have_attribute("data-dots", "2")
    expect(page.locator("#scatter")).to_have_attribute("data-dots", "1")
    assert page.locator("#scatter circle").count() == 1


def test_new_trials_appear_without_a_reload_and_move_nobodys_view(visit: Visit, fake: FakeV1) -> None:
    scored(fake, 60)
    page = visit(f"{PAGE}?order=number&train.learning_rate=0.0005..0.05")
    expect(page.locator("#parallel")).to_have_attribute("data-lines", "60")
    table = page.locator(".tall").last
    page.get_by_role("link", name="open the run of trial 50").focus()
    table.evaluate("(table) => { table.scrollTop = 700; }")
    page.get_by_label("Alias for the best model").fill("half writ")
    page.get_by_role("link", name="open the run of trial 50").evaluate("(link) => link.focus({ preventScroll: true })")
    scored(fake, 64)
    expect(page.locator("#parallel")).to_have_attribute("data-lines", "64")
    expect(page.locator("#course")).to_have_attribute("data-dots", "64")
    assert table.evaluate("(table) => table.scrollTop") == 700
    expect(page.get_by_role("link", name="open the run of trial 50")).to_be_focused()
    expect(page.get_by_label("Alias for the best model")).to_have_value("half writ")
    assert lit(page) == ["50"]


def test_stream_of_an_ended_sweep_is_closed_and_not_opened_again(visit: Visit, fake: FakeV1) -> None:
    page = visit(PAGE)
    shelf = fake.shelves.of_sweeps[0]
    with page.expect_event("requestfailed", lambda request: "/parts/" in request.url):
        ended = sweep_shelf(shelf.trials, state="succeeded", finished_at=shelf.report.created_at + 1)
        fake.shelves.of_sweeps = [ended]
    expect(page.locator("#sweep-facts [role=status]")).to_have_text("succeeded")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.reload()
    assert asked
    assert [url for url in asked if "/parts/" in url] == []


def test_changes_are_pushed_over_one_request(visit: Visit, fake: FakeV1) -> None:
    page = visit("/sweeps")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.resource_type} {request.url}"))
    page.goto(fake.url + "/queue")
    for name in "first", "second":
        fake.shelves.of_line = Line(
            waiting=[in_line("job-00000000000000b1", name=name)], running=[], paused=[], num_waiting=1, num_running=0
        )
        expect(page.get_by_role("table", name="Waiting").locator("bdi")).to_have_text(name)
    assert [one for one in asked if "/parts/queue" in one] == [f"eventsource {fake.url}/parts/queue"]


def test_revoked_key_leads_from_a_pushed_page_to_the_login(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    page = visit("/queue")
    expect(page.get_by_role("table", name="Waiting")).to_be_visible()
    fake.live_keys.clear()
    page.wait_for_url("**/login*")
    complaints.said.clear()


def test_sweep_is_cancelled_by_a_second_click_and_its_best_promoted(visit: Visit, fake: FakeV1) -> None:
    page = visit(PAGE)
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    cancel.click()
    assert fake.shelves.asked == []
    page.keyboard.press("Escape")
    expect(cancel).to_be_visible()
    cancel.click()
    page.evaluate(REFRESH)
    page.get_by_role("button", name="Cancel it and its trials?").click()
    expect(page.locator("#toasts")).to_contain_text("Makes no trial more")
    page.get_by_label("Alias for the best model").fill("prod")
    page.get_by_role("button", name="Promote best").click()
    expect(page.locator("#toasts")).to_contain_text(f"prod stands for job-{1:016x} now.")
    assert fake.shelves.asked == [
        ("POST", f"/v1/sweeps/{SWEEP}/cancel", ""),
        ("PUT", "/v1/models/prod", {"model": f"job-{1:016x}"}),
    ]
    expect(page.get_by_role("link", name="Compare best 2")).to_have_attribute(
        "href", f"/compare?jobs=job-{1:016x},job-{0:016x}"
    )


def test_form_asks_for_what_was_filled_in(visit: Visit, fake: FakeV1) -> None:
    page = visit("/sweeps/new")
    page.get_by_label("Name").fill("mine")
    page.locator("#add-searched").click()
    page.locator("#searched .field").last.select_option("model.cell")
    page.get_by_label("model.cell values").fill("lstm, gru")
    page.get_by_label("model.hidden_size step").fill("64")
    page.get_by_label("Trials at most").fill("7")
    page.get_by_label("Halving from step").fill("100")
    page.get_by_role("button", name="Start the sweep").click()
    page.wait_for_url(f"**{PAGE}")
    assert fake.shelves.asked == [
        (
            "POST",
            "/v1/sweeps",
            {
                "name": "mine",
                "spec": {
                    "dataset": DATASET,
                    "task": "language_model",
                    "train": {"max_steps": 900, "validate_every_steps": 100},
                },
                "parameters": {
                    "train.learning_rate": {"min": 0.001, "max": 0.03, "log": True},
                    "model.hidden_size": {"min": 64, "max": 256, "step": 64},
                    "model.cell": {"values": ["lstm", "gru"]},
                },
                "search": {"method": "tpe"},
                "objective": {"metric": "validation_loss"},
                "budget": {"max_trials": 7},
                "replicates": 1,
                "early_stopping": {"min_steps": 100},
            },
        )
    ]


def test_refusal_stands_beside_the_field_it_names(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    page = visit("/sweeps/new")
    for param, place in (
        ("parameters.train.learning_rate", "#searched .field-row >> nth=0"),
        ("spec.train.max_steps", "#fixed .field-row >> nth=0"),
        ("early_stopping.min_steps", "[data-param='early_stopping.min_steps']"),
        ("budget", "#sweep-error"),
    ):
        fake.shelves.refusals["sweeps"] = (422, f"{param} is wrong {HOSTILE}", param)
        page.get_by_role("button", name="Start the sweep").click()
        expect(page.locator(place)).to_contain_text(f"{param} is wrong {SHOWN}")
        expect(page.get_by_role("alert")).to_have_count(1)
    assert page.title() == "New sweep · Unroll"
    assert {said[:3] for said in complaints.said} == {"422", "err"}
    complaints.said.clear()


def test_file_is_uploaded_as_it_was_picked_or_dropped(
    visit: Visit, fake: FakeV1, complaints: Complaints, tmp_path: Path
) -> None:
    file = tmp_path / "names.csv"
    file.write_text("text,label\nAda,en\n")
    page = visit("/datasets")
    page.get_by_label("Drop a file here").set_input_files(file)
    expect(page.get_by_label("Kind")).to_have_value("labelled")
    fake.refusals["upload"] = refusal(422, "row 2, column label: too few <b>", "file")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_have_text("row 2, column label: too few <b>")
    complaints.said.clear()
    fake.refusals.clear()
    data = page.evaluate_handle(
        "() => { const data = new DataTransfer(); data.items.add(new File(['abc'], 'a.txt')); return data; }"
    )
    page.get_by_label("Kind").select_option("text")
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    expect(page.locator("#drop-words")).to_have_text("a.txt")
    page.get_by_label("Symbols").select_option("bytes")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(f"**/datasets/{DATASET}")
    assert asked[0].endswith("/v1/datasets?kind=text&name=a.txt&vocabulary=bytes")
    assert [body for _, body in fake.uploads] == [b"text,label\nAda,en\n", b"abc"]


def test_data_set_in_use_is_not_deleted_and_says_why(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    why = f"{DATASET} is read by 2 unfinished jobs; cancel them first"
    fake.shelves.refusals[f"datasets/{DATASET}"] = (409, why, "dataset_id")
    page = visit(f"/datasets/{DATASET}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it for good?").click()
    expect(page.locator(".toast.alarm")).to_contain_text(why)
    complaints.said.clear()
    fake.shelves.refusals.clear()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it for good?").click()
    page.wait_for_url("**/datasets")


def test_queue_and_workers_keep_themselves_current(visit: Visit, fake: FakeV1) -> None:
    page = visit("/queue")
    pause = page.get_by_role("table", name="Waiting").get_by_role("button", name="Pause")
    pause.click()
    expect(page.locator("#toasts")).to_contain_text("Paused")
    assert fake.sent == [("pause", "job-00000000000000b1")]
    paused = in_line("job-00000000000000b1", JobState.PAUSED, name="rates")
    fake.shelves.of_line = Line(waiting=[], running=[], paused=[paused], num_waiting=0, num_running=0)
    expect(page.get_by_role("table", name="Set aside").get_by_role("link", name="rates")).to_be_visible()
    expect(page.get_by_role("table", name="Waiting")).to_have_count(0)
    page.get_by_role("link", name="Workers", exact=True).click()
    expect(page.get_by_role("table", name="Workers of rates")).to_contain_text("busy")
    fake.shelves.of_workers = [
        worker("trainer-a-0", Occupant(job="job-1"), host="rates"),
        worker("trainer-a-1", host="rates"),
    ]
    expect(page.get_by_role("table", name="Workers of rates").get_by_role("row")).to_have_count(3)


def test_hostile_text_comes_through_live_parts_and_drawings_as_text(visit: Visit, fake: FakeV1) -> None:
    spec = sweep_spec(name=HOSTILE, parameters={"init_from": {"values": ["a", "b"]}}, early_stopping=None)
    fake.shelves.of_sweeps = [sweep_shelf([trial(0, 1.5, parameters={"init_from": "a"})], spec)]
    page = visit(PAGE)
    expect(page.locator("#sweep-title")).to_have_text(SHOWN)
    page.goto(fake.url + "/queue")
    fake.shelves.of_line = Line(
        waiting=[in_line("job-00000000000000b1", name=HOSTILE)], running=[], paused=[], num_waiting=1, num_running=0
    )
    expect(page.get_by_role("table", name="Waiting").locator("bdi")).to_have_text(SHOWN)
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "Queue · Unroll"


def test_every_page_fits_320_pixels_and_2560(visit: Visit, fake: FakeV1) -> None:
    scored(fake)
    long = "w" * 200
    fake.shelves.of_datasets = [dataset_shelf(name=long, preview=long * 3)]
    fake.shelves.of_line = fake.shelves.of_line.model_copy(
        update={"waiting": [in_line("job-00000000000000b1", name=long, num_workers=4)]}
    )
    page = visit("/sweeps")
    for path in PATHS:
        page.goto(fake.url + path)
        for width in (320, 2560):
            page.set_viewport_size({"width": width, "height": 700})
            # Drawings are made anew in the frame after the window has its width.
            page.wait_for_function("(width) => document.documentElement.scrollWidth <= width", arg=width)


def test_every_page_reads_without_javascript(visit: Visit, fake: FakeV1) -> None:
    scored(fake)
    fake.jobs = [job_record()]
    page = visit("/sweeps", java_script_enabled=False)
    expect(page.get_by_role("table", name="Sweeps").get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="rates").click()
    expect(page.locator("#trials tbody tr")).to_have_count(12)
    expect(page.locator("#trials tbody tr").first).to_have_text(re.compile(r"^\s*11\s*succeeded\s*1\.4500"))
    expect(page.get_by_text("The drawing needs JavaScript")).to_be_visible()
    for path in PATHS:
        page.goto(fake.url + path)
        expect(page.locator("main h1").first).to_be_visible()
        assert page.locator(".scripted:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_rooms_violates_axe(visit: Visit, fake: FakeV1, scheme: str) -> None:
    scored(fake)
    page = visit("/sweeps", color_scheme=scheme)
    found = {}
    for path in PATHS:
        page.goto(fake.url + path)
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        found[path] = violations(page)
    assert {path: said for path, said in found.items() if said} == {}
