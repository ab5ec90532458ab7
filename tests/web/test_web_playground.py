"""The playground in a real Chromium: what is asked of models, how it streams, forks and shows."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from complaints import Complaints
from fake_models import piece
from fake_v1 import FakeV1, job_record, refusal
from playwright.sync_api import Locator, Page, expect

from rnncore.spec import JobSpec, ModelSpec

pytestmark = pytest.mark.system

Visit = Callable[..., Page]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202e"
SHOWN = "<img src=x onerror=\"document.title='owned'\">⟨U+202E⟩"
DEFAULTS: dict[str, Any] = {"max_tokens": 400, "temperature": 0.8, "logprobs": 5, "stream": True}


def opened(
    visit: Visit, fake: FakeV1, query: str = "?model=job-1", task: Any = "language_model", **options: Any
) -> Page:
    """The playground with two models of one task."""
    spec = JobSpec(dataset="ds-" + "0" * 32, task=task, model=ModelSpec(hidden_size=5))
    fake.jobs = [job_record("job-1", spec=spec), job_record("job-2", spec=spec)]
    fake.models.jobs = {"job-1": "job-1", "job-2": "job-2", "job-1:step-800": "job-1"}
    page = visit("/playground" + query, **options)
    expect(page.locator(".model-note").last).to_contain_text("5x1")
    return page


def write(page: Page, prompt: str = "ab") -> Locator:
    """Has a text written to its end; where it stands."""
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Write").click()
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    return page.locator(".symbols").first


def asked(fake: FakeV1) -> list[dict[str, Any]]:
    return [{key: value for key, value in body.items() if key not in DEFAULTS} for body in fake.completion_requests]


def test_text_streams_in_coloured_by_its_surprisal(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("cd", bits=4), piece("e", bits=1, state="state-1")]
    fake.pieces_allowed = 1
    page = opened(visit, fake)
    page.get_by_label("Prompt").fill("a\nb")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Top k").fill("3")
    page.get_by_role("button", name="Write").click()
    shown = page.locator(".symbols")
    expect(shown.locator("span")).to_have_text(["a", "↵\n", "b", "c", "d"], use_inner_text=False)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    fake.pieces_allowed = 2
    fake.wake()
    expect(page.locator(".score")).to_have_text("3 characters, 3.00 bits each on average")
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    heats = shown.locator("span").evaluate_all("all => all.map(s => s.style.getPropertyValue('--heat'))")
    assert heats == ["", "", "", "0.500", "0.500", "0.125"]
    assert fake.completion_requests == [
        {"model": "job-1", "prompt": "a\nb", "seed": 7, "top_k": 3, "state": True, **DEFAULTS}
    ]


def test_what_is_folded_away_is_sent_when_it_is_set(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Stop at").fill("\\n\\n")
    page.get_by_label("Presence penalty").fill("0.5")
    page.get_by_label("Frequency penalty").fill("-0.25")
    page.get_by_label("Top p").fill("0.9")
    write(page, "")
    assert asked(fake) == [
        {
            "model": "job-1",
            "prompt": "",
            "state": True,
            "stop": "\n\n",
            "presence_penalty": 0.5,
            "frequency_penalty": -0.25,
            "top_p": 0.9,
        }
    ]


def test_going_on_sends_the_state_behind_the_text(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("cd", state="state-1")]
    page = opened(visit, fake)
    shown = write(page)
    fake.completion = [piece("ef", state="state-2")]
    page.get_by_role("button", name="Go on").click()
    expect(shown).to_have_text("abcdef")
    page.get_by_role("button", name="Go on").click()
    expect(shown).to_have_text("abcdefef")
    assert [(one["state"], one["prompt"]) for one in asked(fake)] == [(True, "ab"), ("state-1", ""), ("state-2", "")]


def test_fork_in_mid_text_sends_the_state_before_it_and_the_text_between(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("cd", state="state-1")]
    page = opened(visit, fake)
    shown = write(page)
    fake.completion = [piece("efgh", top={"X": 0.25}, state="state-2")]
    page.get_by_role("button", name="Go on").click()
    expect(shown).to_have_text("abcdefgh")
    fake.completion = [piece("!", state="state-3")]
    shown.locator("span").nth(6).click()
    page.get_by_role("button", name="Fork from here").click()
    expect(shown).to_have_text("abcdef!")
    shown.locator("span").nth(1).click()  # within the prompt
    page.get_by_role("button", name="Fork from here").click()
    expect(shown).to_have_text("a!")
    assert [(one["state"], one["prompt"]) for one in asked(fake)] == [
        (True, "ab"),
        ("state-1", ""),
        ("state-1", "ef"),
        (True, "a"),
    ]


def test_another_symbol_is_chosen_by_keyboard_and_gone_on_with(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("cd", bits=2, top={"X": 0.5}, state="state-1")]
    page = opened(visit, fake)
    shown = write(page)
    shown.locator("[tabindex='0']").focus()
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    detail = page.locator(".detail")
    assert detail.locator("li").all_text_contents() == ["X50.0 %", "c25.0 %"]
    expect(detail.locator(".is-it")).to_have_text("c25.0 %")
    fake.completion = [piece("yz", state="state-2")]
    page.get_by_title("Go on from here with X").focus()
    page.keyboard.press("Enter")
    expect(shown).to_have_text("abXyz")
    assert [(one["state"], one["prompt"]) for one in asked(fake)] == [(True, "ab"), (True, "abX")]


def test_pinned_symbol_stays_while_the_pointer_passes_over_others(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("cd", state="state-1")]
    page = opened(visit, fake)
    symbols = write(page).locator("span")
    head = page.locator(".detail-symbol")
    symbols.nth(2).hover()
    expect(head).to_have_text("c")
    symbols.nth(2).click()
    symbols.nth(3).hover()
    expect(head).to_have_text("c")
    symbols.nth(3).click()
    expect(head).to_have_text("d")


@pytest.mark.parametrize(("status", "param"), [(410, "state"), (422, "state")])
def test_state_that_is_good_no_longer_is_made_up_for_by_the_text(
    visit: Visit, fake: FakeV1, complaints: Complaints, status: int, param: str
) -> None:
    fake.completion = [piece("cd", state="state-1")]
    page = opened(visit, fake)
    shown = write(page)
    answer = refusal(status, "is no state of these parameters")
    answer.body = json.dumps({"error": {"message": "x", "param": param}}).encode()
    answer.headers["content-length"] = str(len(answer.body))
    fake.models.refuse = lambda body: answer if body["state"] is not True else None
    page.get_by_role("button", name="Go on").click()
    expect(shown).to_have_text("abcdcd")
    assert [(one["state"], one["prompt"]) for one in asked(fake)] == [(True, "ab"), ("state-1", ""), (True, "abcd")]
    expect(page.locator(".column .alarm").first).to_be_hidden()
    assert {said[:3] for said in complaints.said} == {str(status), "err"}
    complaints.said.clear()


def test_stopped_text_stays_and_can_be_gone_on_with(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("cd"), piece("ef", state="state-1")]
    fake.pieces_allowed = 1
    page = opened(visit, fake)
    page.get_by_label("Prompt").fill("ab")
    page.get_by_role("button", name="Write").click()
    shown = page.locator(".symbols")
    expect(shown).to_have_text("abcd")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    expect(shown).to_have_text("abcd")
    fake.pieces_allowed = 2
    page.get_by_role("button", name="Go on").click()
    expect(shown).to_have_text("abcdcdef")
    assert [(one["state"], one["prompt"]) for one in asked(fake)] == [(True, "ab"), (True, "abcd")]


def test_models_write_side_by_side_and_the_address_names_them(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("c", state="state-1")]
    page = opened(visit, fake, "?model=job-1&model=job-2")
    write(page)
    expect(page.locator(".symbols")).to_have_text(["abc", "abc"])
    assert sorted(one["model"] for one in asked(fake)) == ["job-1", "job-2"]
    page.get_by_role("button", name="Add a model beside").click()
    page.get_by_label("Model", exact=True).nth(2).fill("job-1:step-800")
    page.keyboard.press("Tab")
    expect(page.locator(".model-note").nth(2)).to_contain_text("step 800 · 1.500 bits per character")
    assert page.url.endswith("/playground?model=job-1&model=job-2&model=job-1%3Astep-800")
    page.get_by_role("button", name="Add a model beside").click()
    expect(page.get_by_role("button", name="Add a model beside")).to_be_hidden()
    page.get_by_role("button", name="Remove").first.click()
    expect(page.locator(".column")).to_have_count(3)
    assert page.url.endswith("/playground?model=job-2&model=job-1%3Astep-800")


def test_without_a_name_the_newest_model_is_taken(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, "")
    expect(page.get_by_label("Model", exact=True)).to_have_value("job-1")
    assert page.locator("#models option").evaluate_all("all => all.map(o => o.value)") == [
        "job-1",
        "job-2",
        "job-1:step-800",
    ]


def test_without_any_model_the_page_says_how_to_get_one(visit: Visit) -> None:
    page = visit("/playground")
    expect(page.locator("#no-model")).to_contain_text("unroll submit FILE --watch")


def test_unknown_model_is_told_beside_its_name(visit: Visit, fake: FakeV1, complaints: Complaints) -> None:
    page = opened(visit, fake)
    page.get_by_label("Model", exact=True).fill("nobody")
    page.keyboard.press("Tab")
    expect(page.locator(".column .alarm").first).to_have_text("no model 'nobody'")
    assert {said[:3] for said in complaints.said} == {"404", "err"}
    complaints.said.clear()


def test_hostile_text_is_shown_and_never_run(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece([*HOSTILE], top={"<b>": 0.5}, state="state-1")]
    page = opened(visit, fake)
    shown = write(page, HOSTILE)
    expect(shown).to_have_text(SHOWN + SHOWN)
    shown.locator("span").last.click()
    expect(page.locator(".detail li").first).to_have_text("<b>50.0 %")
    page.locator("#written summary").click()
    expect(page.locator("#written pre")).to_have_text(SHOWN + SHOWN)
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "Playground · Unroll"


def test_tab_remembers_what_it_wrote_until_it_is_told_to_forget(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("cd", state="state-1")]
    page = opened(visit, fake)
    page.get_by_label("Temperature").fill("0.5")
    write(page, "ab")
    write(page, "xy")
    page.reload()
    page.locator("#written summary").click()
    assert page.locator("#written pre").all_text_contents() == ["xycd", "abcd"]
    page.get_by_role("button", name="Use its prompt and settings").nth(1).click()
    expect(page.get_by_label("Prompt")).to_have_value("ab")
    expect(page.get_by_label("Temperature")).to_have_value("0.5")
    page.get_by_role("button", name="Forget it now").click()
    expect(page.locator("#written")).to_be_hidden()


def test_request_can_be_copied_as_curl_and_python_that_mean_the_same(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("c", state="state-1")]
    page = opened(visit, fake)
    prompt = 'it\'s "he\\llo"\n$HOME `x`'
    page.get_by_text("As curl or Python").click()
    write(page, prompt)
    expected = {"model": "job-1", "prompt": prompt, "max_tokens": 400, "temperature": 0.8}
    curl = page.locator("pre.curl").text_content() or ""
    assert fake.url in curl
    shown = subprocess.run(
        ["bash", "-c", curl.replace("curl -sf", "printf '%s\\n'", 1)], capture_output=True, text=True
    )
    assert json.loads(shown.stdout.splitlines()[-1]) == expected
    python = (page.locator("pre.python").text_content() or "").replace("with Client() as client:", "if True:")
    call = python.replace("client.completions.create", "dict").replace("from unroll import Client", "")
    script = call.replace("print(answer.choices[0].text)", "import json; print(json.dumps(answer))")
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == expected


def answered(page: Page, inputs: str) -> Locator:
    page.locator(".inputs").fill(inputs)
    page.get_by_role("button", name="Answer").click()
    expect(page.locator(".answer").first).to_be_visible()
    return page.locator(".answer")


def answer(**fields: Any) -> dict[str, Any]:
    return {"label": None, "probabilities": None, "tags": None, "values": None, "sequences": None, **fields}


def test_classifier_answers_with_its_likeliest_labels(visit: Visit, fake: FakeV1) -> None:
    fake.models.answer = lambda _: {
        "data": [answer(label="de", probabilities={"fr": 0.25, "de": 0.75}), answer(label=HOSTILE)]
    }
    page = opened(visit, fake, task="classify")
    expect(page.locator("#write")).to_be_hidden()
    cards = answered(page, "Müller\n[[1, 2], [3, 4]]\n")
    assert fake.models.asked == [{"model": "job-1", "inputs": ["Müller", [[1, 2], [3, 4]]]}]
    expect(cards.nth(0).locator(".answer-head")).to_have_text("de")
    assert cards.nth(0).locator("li").all_text_contents() == ["de75.0 %", "fr25.0 %"]
    expect(cards.nth(1).locator(".answer-head")).to_have_text(SHOWN)
    page.get_by_text("As curl or Python").click()
    expect(page.locator("pre.curl")).to_contain_text("/v1/predict")


@pytest.mark.parametrize(
    ("task", "inputs", "sent", "answer_fields", "shown"),
    [
        ("tag", '["HH", "AH"]', [["HH", "AH"]], {"tags": ["0", "1"]}, "HH0AH1"),
        ("tag", "ab", ["ab"], {"tags": ["x", "y"]}, "axby"),
        ("regress", "[[0.5, 1]]", [[[0.5, 1]]], {"values": [0.25, 3]}, "0.2500, 3.0000"),
        ("forecast", "1.5, 2\n3, 4", [[[1.5, 2], [3, 4]]], {"values": [7.125]}, "7.1250"),
        (
            "translate",
            "hello",
            ["hello"],
            {"sequences": [{"symbols": ["HH", "AH"], "text": "HHAH", "score": -0.5}]},
            "HH AH log-probability -0.500 a symbol",
        ),
        ("generate", "de", ["de"], {"sequences": [{"symbols": ["U", "w"], "text": "Uw", "score": None}]}, "Uw"),
    ],
)
def test_each_task_has_its_form_and_its_answer(
    visit: Visit, fake: FakeV1, task: str, inputs: str, sent: Any, answer_fields: Any, shown: str
) -> None:
    fake.models.answer = lambda _: {"data": [answer(**answer_fields)]}
    page = opened(visit, fake, task=task)
    card = answered(page, inputs)
    assert fake.models.asked[0]["inputs"] == sent
    expect(card.locator(".tagged, .answer-head, .sequence")).to_have_text(shown)


def test_line_that_cannot_be_read_is_named(visit: Visit, fake: FakeV1) -> None:
    page = opened(visit, fake, task="forecast")
    page.locator(".inputs").fill("1, 2\n3, x")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator(".predict-error")).to_have_text("line 2 is no row of numbers: 3, x; separate them by commas")
    assert fake.models.asked == []


def test_playground_fits_a_phone(visit: Visit, fake: FakeV1) -> None:
    fake.completion = [piece("c" * 200, state="state-1")]
    page = opened(visit, fake, viewport={"width": 320, "height": 700})
    write(page)
    page.get_by_text("As curl or Python").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
