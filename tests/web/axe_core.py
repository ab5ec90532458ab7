"""What axe-core finds wrong with a page, as a reader of screens would meet it."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = (Path(__file__).parent / "axe" / "axe-4.14.1.min.js").read_text()


def violations(page: Page) -> list[str]:
    """With all that is folded away unfolded."""
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    page.evaluate(AXE)  # not as a script of the page: its policy would refuse it
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
