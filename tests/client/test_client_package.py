"""What the distribution is made of: light to start, one top-level name, free of the server's rooms."""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

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


def test_wheel_holds_one_top_level_name(tmp_path):
    source = ROOT / "services" / "client"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    (metadata,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"unroll", metadata}
    assert {"unroll/cli.py", "unroll/py.typed", "unroll/commands/submit.py"} <= set(names)
