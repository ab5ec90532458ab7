from collections.abc import Iterator

import pytest

from tests.running_service import Service, running


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture(scope="session")
def text() -> str:
    """Something to learn: 40,000 symbols of counting in words."""
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    words = (" ".join(digits[int(d)] for d in str(n * n)) for n in range(3_000))
    return "\n".join(words)[:40_000]


@pytest.fixture(autouse=True)
def _no_job_is_left_at_work(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails in the middle must not keep the one trainer from the next."""
    yield
    if "service" in request.fixturenames:
        service: Service = request.getfixturevalue("service")
        for state in ("queued", "running"):
            for job in service.api.get("/v1/jobs", params={"state": state, "limit": 100}).json()["data"]:
                service.api.post(f"/v1/jobs/{job['id']}/cancel")
                service.ended(job["id"])
