"""Secrets for the containers: made once, private, and read from files."""

import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deploy.make_secrets import make_secrets
from services.access import KEY_PREFIX
from services.settings import Settings


def test_secrets_that_compose_reads_are_made(compose: dict[str, Any], tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "secrets")
    assert {path.name for path in made} == {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert {Path(secret["file"]).parent for secret in compose["secrets"].values()} == {Path("deploy/secrets")}
    values = [path.read_text() for path in made]
    assert len(set(values)) == 5
    assert all(len(value.removeprefix(KEY_PREFIX)) == 64 and value == value.strip() for value in values)
    assert (tmp_path / "secrets/api_key").read_text().startswith(KEY_PREFIX)


def test_secrets_lie_in_a_folder_that_their_owner_alone_enters(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    made = make_secrets(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o444}


def test_secret_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    kept = (tmp_path / "ray_token").read_text()
    (tmp_path / "api_key").unlink()
    assert [path.name for path in make_secrets(tmp_path)] == ["api_key"]
    assert (tmp_path / "ray_token").read_text() == kept


def test_password_of_a_file_joins_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("REDIS_URL", "redis://redis:6379/0")
    assert Settings().redis_url == "redis://:p%40ss%2Fword@redis:6379/0"
    monkeypatch.setenv("REDIS_URL", "unix:///run/redis.sock")
    assert Settings().redis_url == "unix://:p%40ss%2Fword@/run/redis.sock"


def test_two_passwords_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("one")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("REDIS_URL", "redis://:two@redis:6379/0")
    with pytest.raises(ValidationError, match="unset REDIS_PASSWORD_FILE"):
        Settings()


def test_hosts_are_separated_by_commas_and_empty_ones_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_ALLOWED_HOSTS", "app, example.org,")
    assert Settings().allowed_hosts == ("app", "example.org")
