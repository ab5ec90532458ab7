"""The page of a run's inside, opened on insides that are known, and read as a reader does."""

import math
from collections.abc import Callable
from typing import Any

from fake_v1 import FakeV1, job_record
from playwright.sync_api import Locator, Page, expect

from rnncore.spec import JobSpec, ModelSpec, TrainSpec

Visit = Callable[..., Page]


def job(job_id: str = "job-1", *, cell: Any = "lstm", seed: int = 0, layers: int = 1, best: float = 1.0) -> Any:
    model = ModelSpec(cell=cell, hidden_size=5, num_layers=layers)
    spec = JobSpec(dataset="ds-" + "0" * 32, name=f"{cell} {seed}", model=model, train=TrainSpec(seed=seed))
    return job_record(job_id, spec=spec, best={"step": 10, "validation_loss": best * math.log(2)})


def opened(visit: Visit, fake: FakeV1, by_step: dict[int, Any], query: str = "", **options: Any) -> Page:
    """The inside of a job whose checkpoints showed this."""
    fake.jobs = fake.jobs or [job()]
    fake.inside.seen["job-1"] = by_step
    page = visit("/jobs/job-1/inside" + query, **options)
    expect(page.locator("#views")).to_have_attribute("aria-busy", "false")
    return page


def shows(page: Page, step: int) -> None:
    expect(page.locator("#views")).to_have_attribute("data-step", str(step))


def table(page: Page, view: str) -> list[list[str]]:
    """The rows behind a chart, opened as a reader opens them."""
    details = page.locator(f"#{view} > details")
    details.locator("summary").click()
    expect(details.locator("td").first).to_be_visible()
    rows = details.locator("tr").all()
    return [row.locator("th, td").all_text_contents() for row in rows]


def heats(symbols: Locator) -> list[str]:
    return [
        str(heat)
        for heat in symbols.locator("span").evaluate_all("all => all.map(s => s.style.getPropertyValue('--heat'))")
    ]
