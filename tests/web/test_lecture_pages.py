"""The lecture as the server writes it: its languages, what a key may do, the equations it quotes."""

import re
from pathlib import Path
from typing import Any

import pytest
from fake_v1 import FakeV1
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from test_web_pages import ask, session

import rnncore
from services.web import text
from services.web.lecture import catalogue, page
from services.web.site import CONTENT_SECURITY_POLICY, HERE, Visitor

CODES = tuple(catalogue.all_words())
SCRIPTS = "".join(path.read_text() for path in sorted((HERE / "static" / "lecture").glob("*.js")))
CELLS = (Path(rnncore.__path__[0]) / "cells.py").read_text()


def flat(words: dict[str, Any], before: str = "") -> dict[str, str]:
    """`a.b.c` -> the words."""
    found: dict[str, str] = {}
    for key, value in words.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return found


class Recorder(dict[str, Any]):
    """Words that note which of them a template reads."""

    def __init__(self, words: dict[str, Any], read: set[str], before: str = "") -> None:
        super().__init__(words)
        self.read, self.before = read, before

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, dict) and key != "script":
            return Recorder(value, self.read, f"{self.before}{key}.")
        self.read.add(self.before + key)
        return value


def test_there_is_english_and_korean() -> None:
    assert CODES == ("en", "ko")


@pytest.mark.parametrize("code", CODES)
def test_every_language_has_the_same_keys(code: str) -> None:
    assert list(flat(catalogue.read(code))) == list(flat(catalogue.read("en")))


@pytest.mark.parametrize("code", CODES)
def test_no_words_are_left_empty(code: str) -> None:
    assert [key for key, words in flat(catalogue.read(code)).items() if not words.strip()] == []


@pytest.mark.parametrize("code", CODES)
def test_every_language_keeps_markup_and_places_for_values(code: str) -> None:
    def frame(words: str) -> set[str]:
        return set(re.findall(r"<[^>]+>|<code>[^<]*</code>|\{\w+\}", words))

    ours, theirs = flat(catalogue.read(code)), flat(catalogue.read("en"))
    assert {key: frame(ours[key]) for key in ours} == {key: frame(theirs[key]) for key in theirs}


def test_page_reads_every_word_for_it_and_scripts_every_word_for_them() -> None:
    words, read = catalogue.all_words()["en"], set[str]()
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    environment.globals |= {"text": text, "version": "1", "navigation": ()}
    environment.get_template("lecture/page.html").render(
        w=Recorder(words, read),
        visitor=Visitor("t", frozenset(), "", "/lecture/en"),
        language="en",
        languages={"en": "English"},
        chapters=page.CHAPTERS,
        code=page.functions(CELLS),
    )
    # Of the words for scripts nothing is read here; the name of the language stands in the list of all languages.
    assert read - {"script"} == {key for key in flat(words) if not key.startswith("script.")} - {"language"}
    references = re.findall(r"(?<![./])\bwords\.([a-z_]+(?:\.[a-z_]+)*)(\[)?", SCRIPTS)
    exact = {name for name, bracket in references if not bracket}
    indexed = {name for name, bracket in references if bracket}
    scripted = set(flat(words["script"]))
    assert exact <= scripted
    assert {key for key in scripted - exact if not any(key.startswith(name + ".") for name in indexed)} == set()
    assert {name for name in indexed if not any(key.startswith(name + ".") for key in scripted)} == set()


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("en-GB,ko;q=0.9", "en"),
        ("en;q=0.1,de,ko;q=0.2", "ko"),
        ("de", "en"),
        ("", "en"),
        ("ko;q=0", "en"),
        ("ko;q=high,en;q=0.1", "en"),
    ],
)
def test_lecture_opens_in_the_language_that_the_browser_prefers(asked: str, code: str) -> None:
    answer = ask(FakeV1(), "GET", "/lecture", cookie=session(), headers={"accept-language": asked})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/lecture/{code}")


@pytest.mark.parametrize("code", CODES)
def test_lecture_says_which_language_each_of_its_parts_is_in(code: str) -> None:
    answer = ask(FakeV1(), "GET", f"/lecture/{code}", cookie=session())
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert f'<html lang="{code}">' in answer.text
    assert '<header class="bar" lang="en">' in answer.text
    assert f'<a href="/lecture/{code}" lang="{code}" hreflang="{code}" aria-current="true">' in answer.text
    assert answer.text.count('hreflang="') == len(CODES)
    for title in ("shapes", "hello", "truncation", "vanishing", "gates", "sampling", "next"):
        assert catalogue.read(code)[title]["title"] in answer.text


def test_other_pages_are_english() -> None:
    assert '<html lang="en">' in ask(FakeV1(), "GET", "/", cookie=session()).text


def test_language_that_is_not_there_is_not_found() -> None:
    answer = ask(FakeV1(), "GET", "/lecture/xx", cookie=session())
    assert answer.status_code == 404
    assert "lecture in xx" in answer.text


def test_lecture_quotes_the_equations_that_the_service_runs() -> None:
    answer = ask(FakeV1(), "GET", "/lecture/cells.py", cookie=session())
    assert (answer.headers["content-type"], answer.text) == ("text/plain; charset=utf-8", CELLS)
    quoted = page.functions(CELLS)
    assert {"rnn_cell", "lstm_cell", "gru_cell"} <= set(quoted)
    assert all(source in CELLS for source in quoted.values())
    assert quoted["lstm_cell"].endswith("return o * torch.tanh(c), c")


def test_lecture_needs_a_session() -> None:
    assert ask(FakeV1(), "GET", "/lecture/ko").headers["location"] == "/login?next=%2Flecture%2Fko"
