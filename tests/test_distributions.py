"""What is installed: the server's wheel is whole, and its rooms can be imported from any folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_servers_wheel_holds_the_three_rooms_with_all_their_files(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("unroll_server-*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"rnncore", "services", "workers"}
    assert not [name for name in names if name.startswith("services/client")]
    tracked = subprocess.run(
        ["git", "ls-files", "rnncore", "services", "workers"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert sorted(names) == sorted(name for name in tracked if not name.startswith("services/client/"))


def test_the_rooms_are_importable_from_any_folder() -> None:
    code = "import rnncore.spec, services.settings, workers, unroll; print('ok')"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n"


def test_every_version_is_pinned() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len(lines) > 50
    assert [line for line in lines if "==" not in line or "+" in line] == []
    assert "torch==2.13.0" in lines
    assert "pytorch-lightning==2.6.6" in lines
