"""Pictures of the README, taken of a service that runs: `python -m docs.screenshots [BOOK]`, or `make screenshots`.

Two small networks are trained on BOOK (by default the pages of this documentation); the last is at work when they are
looked at. Needs Chromium (`make setup-system`).
"""

import shutil
import sys
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, sync_playwright

from tests.running_service import Service, running

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
CELLS = ("gru", "lstm")
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZE = {"width": 1280, "height": 860}
TRAIN = {"batch_size": 32, "tbptt_steps": 64, "validate_every_steps": 50, "checkpoint_every_steps": 150}


def main() -> int:
    """Writes the images, a light and a dark one of each page."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no Chromium here: `make setup-system` brings it", file=sys.stderr)
        return 1
    book = Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else _documentation()
    IMAGES.mkdir(exist_ok=True)
    with running() as service, sync_playwright() as playwright:
        dataset = service.upload(book, name="book.txt")
        first, last = [_submit(service, dataset, cell) for cell in CELLS]
        service.ended(first, 900)
        service.stepped(last, 400)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        for theme in THEMES:
            _shoot(browser, service, theme, {"run": f"/jobs/{last}", "inside": f"/jobs/{first}/inside"})
        browser.close()
    return 0


def _submit(service: Service, dataset: str, cell: str) -> str:
    limits = {"max_steps": 600 if cell != "lstm" else 4000}
    model = {"cell": cell, "hidden_size": 128, "embedding_size": 32}
    return str(service.submit(dataset, name=f"{cell} on a book", model=model, train=TRAIN | limits)["id"])


def _shoot(browser: Browser, service: Service, theme: Literal["light", "dark"], pages: dict[str, str]) -> None:
    options: dict[str, Any] = {"viewport": SIZE, "color_scheme": theme, "reduced_motion": "reduce"}
    page = browser.new_context(**options).new_page()
    page.goto(f"{service.api.base_url}/login")
    page.get_by_label("API key").fill((service.home / "api_key").read_text().strip())
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    for name, path in pages.items():
        page.goto(f"{service.api.base_url}{path}")
        page.wait_for_timeout(4000)  # charts are drawn as points come in
        page.screenshot(path=IMAGES / f"{name}-{theme}.png")


def _documentation() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))[:300_000]


if __name__ == "__main__":
    sys.exit(main())
