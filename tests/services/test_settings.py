"""Settings, and the private files and folders of an installation."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.settings import Settings, private_value, socket_folder

LONGEST_SOCKET_PATH = 107


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The socket folder of a home with a very long path."""
    home = tmp_path / ("long" * 50) / ("longer" * 30)
    folder = socket_folder(home)
    yield folder
    if folder.is_dir() and not folder.is_symlink():
        folder.rmdir()
    else:
        folder.unlink()


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNROLL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UNROLL_PORT", "1234")
    monkeypatch.setenv("UNROLL_ALLOWED_HOSTS", "a.example, b.example,")
    settings = Settings()
    assert (settings.root, settings.port) == (tmp_path / "home", 1234)
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert settings.storage_url == str(tmp_path / "home" / "storage")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UNROLL_PORT", "70000"),
        ("UNROLL_LEASE_SECONDS", "0.5"),
        ("UNROLL_MAX_UPLOAD_BYTES", "0"),
        ("UNROLL_REDIS_DURABILITY", "hoped for"),
        ("UNROLL_TRAINERS", "0"),
        ("UNROLL_SAMPLER", "threads"),
        ("UNROLL_SAMPLER_MIN_REPLICAS", "0"),
    ],
)
def test_setting_out_of_bounds_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_fewest_replicas_are_no_more_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_SAMPLER_MIN_REPLICAS", "5")
    with pytest.raises(ValidationError, match="is less than UNROLL_SAMPLER_MIN_REPLICAS=5"):
        Settings()


def test_home_is_private(tmp_path: Path) -> None:
    root = Settings(UNROLL_HOME=tmp_path / "home").root
    assert root.stat().st_mode & 0o777 == 0o700


def test_private_value_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        value = private_value(tmp_path / "secret", prefix="unroll-")
    finally:
        os.umask(before)
    assert value.startswith("unroll-")
    assert len(value) == len("unroll-") + 64
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert private_value(tmp_path / "secret") == value
    assert private_value(tmp_path / "other") != value
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "secret"]


def test_all_who_ask_for_a_private_value_at_once_get_the_same(tmp_path: Path) -> None:
    for turn in range(20):
        path, barrier, values = tmp_path / str(turn), threading.Barrier(8), []

        def ask(path: Path = path, barrier: threading.Barrier = barrier, values: list[str] = values) -> None:
            barrier.wait()
            values.append(private_value(path))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert values == [path.read_text().strip()] * 8
        assert not list(tmp_path.glob(".*"))


def test_secret_of_a_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("my secret\n")
    settings = Settings(UNROLL_HOME=tmp_path, UNROLL_SECRET_FILE=tmp_path / "mine")
    assert settings.secret == b"my secret"


def test_socket_path_is_short_and_private_however_long_the_home(folder: Path) -> None:
    assert len(str(folder / "ray" / "sockets" / "plasma_store")) < LONGEST_SOCKET_PATH
    assert folder.stat().st_mode & 0o777 == 0o700


def test_homes_have_socket_folders_of_their_own(folder: Path, tmp_path: Path) -> None:
    other = socket_folder(tmp_path)
    assert other != folder
    other.rmdir()


def test_socket_folder_that_others_may_enter_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match=str(folder)):
        socket_folder(tmp_path / ("long" * 50) / ("longer" * 30))


def test_socket_folder_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="not a private folder"):
        socket_folder(tmp_path / ("long" * 50) / ("longer" * 30))
