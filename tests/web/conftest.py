"""The fake service, and a real Chromium that must not complain."""

import os
import shutil
import time
from collections.abc import Callable, Iterator

import pytest
from complaints import Complaints
from fake_v1 import KEY_ID, SECRET, FakeV1
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from services.web import sessions

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def fake() -> Iterator[FakeV1]:
    """The service, serving."""
    service = FakeV1()
    with service.serving():
        yield service


@pytest.fixture(scope="module")  # not longer: it keeps an event loop in this thread, where asyncio.run then refuses
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        reason = "left out: Chromium; `make setup-system` brings it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Empty at the end of each test, or the test failed; a test that provokes some takes them out itself."""
    complaints = Complaints()
    yield complaints
    assert complaints.said == []


@pytest.fixture
def visit(chromium: Browser, fake: FakeV1, complaints: Complaints) -> Iterator[Callable[..., Page]]:
    """Opens a page of the service in a context of its own, logged in unless told otherwise."""
    contexts: list[BrowserContext] = []

    def open_page(path: str = "/", *, log_in: bool = True, **options: object) -> Page:
        context = chromium.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        complaints.listen(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        if log_in:
            value = sessions.issue(SECRET, KEY_ID, time.time())
            context.add_cookies([{"name": sessions.COOKIE_NAME, "value": value, "url": fake.url}])
        page.goto(fake.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
