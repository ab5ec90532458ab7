"""The submit page in a real Chromium: what is sent, what is refused where, a file that becomes a data set."""

from collections.abc import Callable

import pytest
from complaints import Complaints
from fake_v1 import DATASET, TENANT, FakeV1, job_record, refusal
from playwright.sync_api import Page, expect

from rnncore.corpus import TextSummary
from rnncore.spec import JobSpec
from services.jobqueue.records import Dataset
from services.web.spec_form import groups

pytestmark = pytest.mark.system

Visit = Callable[..., Page]
SUMMARY = TextSummary(vocabulary="characters", num_symbols=7, symbols="abc", offsets=(0, 1, 2))
HOSTILE = "<b>\u202e</b>"


def stored(dataset_id: str, name: str, kind: str = "text") -> Dataset:
    fields = {"tenant": TENANT, "created_at": 1, "num_bytes": 1_500_000, "sha256": "5" * 64, "summary": SUMMARY}
    return Dataset.model_validate({"id": dataset_id, "name": name, "kind": kind, **fields})


def test_only_what_was_filled_in_is_sent_and_the_run_is_shown(visit: Visit, fake: FakeV1) -> None:
    fake.jobs = [job_record("job-1")]
    fake.stored = [stored(DATASET, HOSTILE), stored("ds-" + "1" * 32, "names", "labelled")]
    page = visit("/submit")
    dataset = page.get_by_label("data set", exact=True)
    expect(dataset.locator("option:enabled")).to_have_text(
        ["pick one, or upload a file below", "<b>⟨U+202E⟩</b> (text, 1.5 MB)"]
    )
    dataset.select_option(DATASET)
    page.get_by_label("cell").select_option("gru")
    page.get_by_label("max steps").fill("90")
    page.get_by_text("The rest").click()
    page.get_by_label("metadata").fill("lab = 7=8\n\nday=monday")
    page.get_by_text("Network", exact=True).click()
    page.get_by_label("unknown").select_option("true")
    page.get_by_text("Training", exact=True).click()
    page.get_by_label("sample prompts").fill("KING:\nQUEEN:")
    page.get_by_role("button", name="Train").click()
    page.wait_for_url("**/jobs/job-1")
    assert fake.submitted == [
        {
            "task": "language_model",
            "dataset": DATASET,
            "model": {"cell": "gru", "unknown": True},
            "train": {"max_steps": 90, "sample_prompts": ["KING:", "QUEEN:"]},
            "metadata": {"lab": "7=8", "day": "monday"},
        }
    ]


def test_refusal_stands_beside_the_field_that_it_names(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    fake.refusals["submit"] = refusal(422, f"train.weight_decay of 11 is over 10 {HOSTILE}", "train.weight_decay")
    page = visit(f"/submit?dataset={DATASET}")
    page.get_by_text("Training", exact=True).click()
    page.get_by_label("weight decay").fill("11")
    page.get_by_text("Training", exact=True).click()
    page.get_by_role("button", name="Train").click()
    field = page.locator('[data-field="train.weight_decay"]')
    expect(field.locator(".refusal")).to_have_text("train.weight_decay of 11 is over 10 <b>⟨U+202E⟩</b>")
    expect(page.get_by_label("weight decay")).to_be_focused()
    assert page.get_by_label("weight decay").get_attribute("aria-invalid") == "true"
    fake.refusals["submit"] = refusal(429, "as many jobs as it may")
    page.get_by_role("button", name="Train").click()
    expect(page.locator("#refused")).to_have_text("as many jobs as it may")
    expect(field.locator(".refusal")).to_be_hidden()
    assert fake.submitted[0] == {"task": "language_model", "dataset": DATASET, "train": {"weight_decay": 11}}
    assert {said[:3] for said in complaints.said} == {"422", "429", "err"}
    complaints.said.clear()


def test_file_becomes_the_data_set(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    page = visit("/submit")
    file = {"name": "bücher.txt", "mimeType": "text/plain", "buffer": b"abc" * 9}
    fake.refusals["upload"] = refusal(422, "the text has one symbol alone")
    page.get_by_label("Upload a file").set_input_files(file)  # type: ignore[arg-type]
    expect(page.locator('[data-field="dataset"] .refusal')).to_have_text("the text has one symbol alone")
    fake.refusals.clear()
    page.get_by_label("Symbols").select_option("bytes")
    page.get_by_label("Upload a file").set_input_files([])
    page.get_by_label("Upload a file").set_input_files(file)  # type: ignore[arg-type]
    expect(page.get_by_label("data set", exact=True)).to_have_value(DATASET)
    expect(page.locator('[data-field="dataset"] .refusal')).to_be_hidden()
    assert fake.uploads[-1] == ({"kind": "text", "name": "bücher.txt", "vocabulary": "bytes"}, b"abc" * 9)
    assert [said[:3] for said in complaints.said] == ["422", "err"]
    complaints.said.clear()


def test_clone_is_filled_in_as_the_run_was_asked_for(visit: Visit, fake: FakeV1) -> None:
    asked = {"name": "first", "model": {"cell": "rnn"}, "train": {"learning_rate": 0.01, "weight_decay": 0.5}}
    spec = JobSpec.model_validate({"dataset": DATASET, "retry_of": "job-" + "0" * 16, **asked})
    fake.jobs = [job_record("job-1", spec=spec)]
    fake.stored = [stored(DATASET, "text")]
    page = visit("/jobs/job-1/config")
    page.get_by_role("link", name="Clone").click()
    page.wait_for_url("**/submit?from=job-1")
    expect(page.get_by_role("heading", level=1)).to_have_text("New run like first")
    page.get_by_role("button", name="Train").click()
    page.wait_for_url("**/jobs/job-1")
    assert fake.submitted == [{"task": "language_model", "dataset": DATASET, **asked}]


def test_task_offers_data_that_serve_it(visit: Visit, fake: FakeV1) -> None:
    fake.stored = [stored(DATASET, "a text"), stored("ds-" + "1" * 32, "names", "labelled")]
    page = visit(f"/submit?dataset={DATASET}")
    page.get_by_label("task").select_option("classify")
    dataset = page.get_by_label("data set", exact=True)
    expect(dataset).to_have_value("")
    expect(dataset.locator("option:enabled").last).to_have_text("names (labelled, 1.5 MB)")
    expect(page.get_by_label("Symbols")).to_be_hidden()


def test_form_has_every_field_of_a_spec_once_but_those_that_are_not_set_by_hand() -> None:
    fields = [field.name for group in groups({}) for field in group.fields]
    spec = JobSpec(dataset=DATASET).model_dump()
    wanted = [name for name in spec if name not in ("model", "train", "resources")]
    wanted += [f"{part}.{name}" for part in ("model", "train", "resources") for name in spec[part]]
    apart = {"task", "dataset", "validation_dataset", "verify_of", "retry_of"}
    assert sorted(fields) == sorted(set(wanted) - apart)


def test_field_says_its_bounds_and_its_default() -> None:
    given = {"train.seed": 7, "metadata": {"a": "b"}}
    fields = {field.name: field for group in groups(given) for field in group.fields}
    size, rate = fields["model.hidden_size"], fields["train.learning_rate"]
    assert (size.kind, size.bounds, size.empty) == ("number", "1 to 4,096", "256")
    assert size.attributes == {"min": "1", "max": "4096", "step": "1"}
    assert (rate.bounds, rate.empty, rate.attributes["step"]) == ("Above 0, up to 10", "0.004", "any")
    assert fields["model.dropout"].bounds == "0 to below 1"
    assert fields["resources.gpus_per_worker"].attributes["step"] == "0.25"
    assert (fields["model.cell"].kind, fields["model.cell"].choices) == ("choice", ("rnn", "lstm", "gru"))
    assert (fields["train.seed"].value, fields["metadata"].value) == ("7", "a=b")
