"""The fake service, and a real Chromium that must not complain."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from fake_v1 import KEY, FakeV1
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, sync_playwright

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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        reason = "left out: Chromium; `make setup-system` brings it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Complaints:
    """All that a console, a script error, a CSP violation or a refused request said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def listen(self, context: BrowserContext) -> None:
        context.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('CSP', e.violatedDirective))"
        )
        context.on("console", self._console)
        context.on("weberror", lambda error: self.said.append(f"script: {error.error}"))
        context.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.said.append(f"{response.status} {response.url}")


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
            page.goto(fake.url + "/login")
            page.get_by_label("API key").fill(KEY)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(fake.url + "/")
        page.goto(fake.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
