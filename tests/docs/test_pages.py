"""Every command of every page runs as it stands there, or says why not; every link leads somewhere."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.docs.conftest import READ_BY, Read, check_whole
from tests.docs.pages import MISNAMED, ROOT, Page, page, pages

# What the pages have their readers make.
MADE_LATER = "deploy/secrets"
READ_WHOLE = [one.name for one in pages() if one.steps and one.name not in READ_BY]
EVERY_PAGE = pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)


@pytest.mark.system
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", READ_WHOLE)
def test_commands_of_the_page_run(read: Callable[[str], Read], name: str) -> None:
    check_whole(read, name)


def test_pages_that_are_read_elsewhere_are_read_whole_there() -> None:
    for name, test in READ_BY.items():
        text = (ROOT / "tests" / "docs" / test).read_text()
        assert f'"{name}"' in text
        assert "assert reader.left == []" in text or "check_whole(read, " in text


@EVERY_PAGE
def test_no_block_hides_its_commands_behind_another_language(one: Page) -> None:
    assert [(block.line, block.language) for block in one.blocks if block.language in MISNAMED] == []
    assert [block.line for block in one.blocks if not block.language] == [], "a block says what it is"


@EVERY_PAGE
def test_links_and_anchors_lead_somewhere(one: Page) -> None:
    broken = []
    for link in one.links:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https"):
            continue
        target = (ROOT / one.name).parent / parts.path if parts.path else ROOT / one.name
        if not target.exists():
            broken.append(link)
        elif parts.fragment:
            name = target.resolve().relative_to(ROOT).as_posix()
            if not name.endswith(".md") or parts.fragment not in page(name).anchors:
                broken.append(link)
    assert broken == []


def test_every_page_is_reached_from_the_table_of_contents() -> None:
    reached, next_ones = set(), [ROOT / "docs" / "README.md"]
    while next_ones:
        file = next_ones.pop()
        if file in reached or file.suffix != ".md":
            continue
        reached.add(file)
        links = page(file.relative_to(ROOT).as_posix()).links
        next_ones += [(file.parent / link.partition("#")[0]).resolve() for link in links if "://" not in link]
    assert {path.resolve() for path in (ROOT / "docs").rglob("*.md")} - reached == set()


def test_pages_point_to_files_that_are_there() -> None:
    """`services/settings.py` and the like, in prose."""
    missing = {
        (one.name, path)
        for one in pages()
        for path in re.findall(r"`((?:services|workers|rnncore|deploy|tests|benchmarks|docs)/[\w./-]+)`", one.text)
        if not (ROOT / path).exists() and not path.startswith(MADE_LATER)
    }
    assert missing == set()


def test_the_readme_opens_with_the_two_commands() -> None:
    first = page("README.md").blocks[0]
    assert [line.split("#")[0].strip() for line in first.text.splitlines()] == ["make demo", "make test"]
