"""A job whose trainers report to a real queue and storage, see desk.py."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, Faulty

from services.jobqueue.scripts import RedisScripts
from services.settings import Settings
from tests.conftest import SECRET
from tests.services.queue_samples import audit


@pytest.fixture
def open_desk(tmp_path: Path, scripts: RedisScripts) -> Iterator[Callable[..., Desk]]:
    """`open_desk(**changes)`: a desk whose job has `changes`."""
    (tmp_path / "secret").write_text(SECRET)
    settings = Settings(UNROLL_HOME=tmp_path, REDIS_URL=scripts.url, UNROLL_SECRET_FILE=tmp_path / "secret")

    def open_desk(**changes: Any) -> Desk:
        return Desk(scripts, Faulty(str(tmp_path / "storage")), settings, **changes)

    yield open_desk
    audit(scripts)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()
