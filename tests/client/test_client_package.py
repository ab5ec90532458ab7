"""What the distribution is made of: light to start, one top-level name, free of the server's rooms."""

import ast
import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FORBIDDEN = {"torch", "ray", "redis", "fastapi", "rnncore", "services", "workers", "numpy", "lightning"}
SLOW = {"httpx", "pydantic", "rich"}
PROBE = """
import json, sys
from unroll.cli import app
try:
    app(["--help"], prog_name="unroll")
except SystemExit as end:
    assert end.code == 0
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_help_loads_no_server_and_nothing_slow():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stderr))
    assert "unroll" in loaded
    assert loaded & (FORBIDDEN | SLOW) == set()
    for command in (
        "up",
        "down",
        "status",
        "submit",
        "sweep",
        "sweeps",
        "jobs",
        "watch",
        "logs",
        "cancel",
        "sample",
        "datasets",
        "models",
        "usage",
        "webhooks",
    ):
        assert f"\n  {command} " in done.stdout


def test_client_loads_nothing_of_the_server():
    probe = "import sys, json, unroll, unroll.watch; unroll.Client; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert {name.partition(".")[0] for name in json.loads(done.stdout)} & FORBIDDEN == set()


def test_no_file_of_the_client_imports_another_room():
    files = list((ROOT / "services" / "client" / "unroll").rglob("*.py"))
    assert len(files) > 20
    allowed = set(sys.stdlib_module_names) | {"unroll", "httpx", "pydantic", "rich", "typer"}
    of_lecture = {"jinja2", "matplotlib", "numpy", "safetensors"}  # the extra that brings them has its name
    for path in files:
        imported = set(_imports(ast.parse(path.read_text())))
        assert imported - allowed - (of_lecture if path.parent.name == "lecture" else set()) == set(), path


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = ROOT / "services" / "client"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_one_top_level_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    (metadata,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"unroll", metadata}
    assert {"unroll/cli.py", "unroll/py.typed", "unroll/commands/submit.py", "unroll/aio/client.py"} <= set(names)
    assert wheel.stat().st_size < 300_000


def needed(name, found=None):
    """The distributions that `name` asks for, and those that they ask for."""
    found = {} if found is None else found
    for line in requires(name) or ():
        one = Requirement(line)
        key = canonicalize_name(one.name)
        if key not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found[key] = distribution(key)
            needed(key, found)
    return found


def test_client_works_in_an_environment_that_holds_what_it_asks_for_and_nothing_else(wheel, tmp_path):
    """Its dependencies are copied from here, so that no index is needed."""
    venv.create(tmp_path / "venv", with_pip=False)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    distributions = needed("unroll")
    assert set(distributions) & {"torch", "ray", "redis", "fastapi", "numpy"} == set()
    for one in distributions.values():
        for file in one.files:
            target = packages / file
            if ".." not in file.parts and "__pycache__" not in file.parts and file.locate().is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(file.locate())
    probe = (
        "import sys, unroll\n"
        "unroll.Client('http://127.0.0.1:1', 'k').close(); unroll.AsyncClient('http://127.0.0.1:1', 'k')\n"
        "import unroll.watch, unroll.watch_many, unroll.watch_sweep, unroll.cli\n"
        "print(unroll.__file__.startswith(sys.prefix), 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", probe], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True False\n", "")
    help_ = [python, "-m", "unroll.cli", "--help"]
    said = subprocess.run(help_, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.startswith("Usage: unroll")
