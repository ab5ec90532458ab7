"""Session cookies: only ours, only whole, only for twelve hours."""

import base64

import pytest

from services.web.sessions import LIFETIME_SECONDS, csrf_matches, csrf_token, issue, verify

SECRET = b"one secret"
NOW = 1_800_000_000.25
COOKIE = issue(SECRET, "tenant-ü:key-7", NOW)


def test_cookie_names_its_key_until_twelve_hours_are_over() -> None:
    assert LIFETIME_SECONDS == 12 * 3600
    assert verify(SECRET, COOKIE, NOW) == "tenant-ü:key-7"
    assert verify(SECRET, COOKIE, NOW + 12 * 3600 - 1) == "tenant-ü:key-7"
    assert verify(SECRET, COOKIE, NOW + 12 * 3600) is None


def test_cookie_of_another_secret_is_refused() -> None:
    assert verify(b"another secret", COOKIE, NOW) is None


@pytest.mark.parametrize("at", range(len(COOKIE)))
def test_cookie_altered_in_one_character_is_refused(at: int) -> None:
    other = "A" if COOKIE[at] != "A" else "B"
    assert verify(SECRET, COOKIE[:at] + other + COOKIE[at + 1 :], NOW) is None


def test_cookie_made_younger_is_refused() -> None:
    holder, issued, mac = COOKIE.split(".")
    assert verify(SECRET, f"{holder}.{int(issued) + 60_000}.{mac}", NOW) is None


@pytest.mark.parametrize("cookie", ["", ".", "..", "a.b.c", COOKIE[:-1], COOKIE + "0", "ü.1.ü", "\ud800", "\0" * 9])
def test_malformed_cookie_is_refused_and_raises_nothing(cookie: str) -> None:
    assert verify(SECRET, cookie, NOW) is None
    assert not csrf_matches(SECRET, COOKIE, cookie)


def test_csrf_token_belongs_to_one_session_and_is_no_part_of_its_cookie() -> None:
    later = issue(SECRET, "tenant-ü:key-7", NOW + 1)
    token = csrf_token(SECRET, COOKIE)
    assert csrf_matches(SECRET, COOKIE, token)
    assert not csrf_matches(SECRET, later, token)
    assert not csrf_matches(b"another secret", COOKIE, token)
    assert token not in COOKIE
    assert COOKIE.rpartition(".")[2] != csrf_token(SECRET, COOKIE.rpartition(".")[0])


def test_cookie_holds_the_key_id_and_nothing_else() -> None:
    holder, issued, _ = COOKIE.split(".")
    assert base64.urlsafe_b64decode(holder + "==").decode() == "tenant-ü:key-7"
    assert int(issued) == 1_800_000_000_250
