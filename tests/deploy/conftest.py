"""What the tests of the deployment share: docker-compose.yml, the manifests as rendered, and programs of the system."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import COMPONENTS, OVERLAYS, Manifests, composed, render

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


@pytest.fixture(scope="session")
def rendered(
    root: Path, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Manifests]:
    """The base, alone and with each component, with all of them, and every overlay."""
    kubectl = program("kubectl")
    chosen: dict[str, tuple[str, ...]] = {"base": (), "everything": COMPONENTS} | {one: (one,) for one in COMPONENTS}
    found = {
        name: composed(kubectl, root, tmp_path_factory.mktemp(name), *components) for name, components in chosen.items()
    }
    return found | {name: render(kubectl, root / "deploy/kubernetes/overlays" / name) for name in OVERLAYS}


@pytest.fixture
def base(rendered: dict[str, Manifests]) -> Manifests:
    return rendered["base"]
