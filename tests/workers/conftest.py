from collections.abc import Iterator

import pytest

from tests.workers.service import Service, running


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
