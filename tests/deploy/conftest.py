"""What the tests of the deployment share: docker-compose.yml as it is written, and programs of the system."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """docker-compose.yml, its anchors merged."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Path of a program of this environment or the system; where it is missing the test is left out, in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
        if path is None:
            reason = f"left out: {name}; `make setup-system` brings it"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        return path

    return find
