"""Where the server is and which key it wants: arguments, then the environment, then UNROLL_HOME. Knows no HTTP."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from unroll.errors import AuthenticationError, ConfigurationError, ServerUnreachableError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Connection:
    """A server's address, without a slash at its end, and the key to send there."""

    url: str
    api_key: str = field(repr=False)

    @property
    def is_loopback(self) -> bool:
        return urlsplit(self.url).hostname in LOOPBACK


def find_connection(
    url: str | None = None, api_key: str | None = None, *, environment: Mapping[str, str] = os.environ
) -> Connection:
    """Address and key of the server to speak to.

    Address: `url`, UNROLL_URL, `$UNROLL_HOME/run/url`. Key: `api_key`, UNROLL_API_KEY, the file UNROLL_API_KEY_FILE,
    `$UNROLL_HOME/api_key`; the last one is sent to this machine's own server alone.

    Raises ServerUnreachableError where no server is named and none runs here, ConfigurationError where the address or
    the key's file cannot be used, AuthenticationError where no key is found.
    """
    home = Path(environment.get("UNROLL_HOME") or "~/.unroll").expanduser()
    own_url = _read(home / "run" / "url")
    chosen = url or environment.get("UNROLL_URL") or own_url
    if not chosen:
        raise ServerUnreachableError(
            f"no server runs on {home}; start one with `unroll up`, or set UNROLL_URL and UNROLL_API_KEY"
        )
    chosen = _checked_url(chosen)
    is_own = chosen == (own_url or "").rstrip("/") or urlsplit(chosen).hostname in LOOPBACK
    key = api_key or _named_key(environment) or (_read(home / "api_key") if is_own else None)
    if not key:
        searched = f" and {home / 'api_key'} cannot be read" if is_own else f" (that of {home} stays on this machine)"
        raise AuthenticationError(
            f"no API key for {chosen}: UNROLL_API_KEY and UNROLL_API_KEY_FILE are unset{searched}"
        )
    return Connection(chosen, _checked_key(key))


def _named_key(environment: Mapping[str, str]) -> str | None:
    if key := environment.get("UNROLL_API_KEY"):
        return key
    if not (path := environment.get("UNROLL_API_KEY_FILE")):
        return None
    try:
        return Path(path).expanduser().read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"UNROLL_API_KEY_FILE={path} cannot be read: {error}") from error


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        is_usable = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigurationError(f"{url!r} is no address of a server; write it as http://127.0.0.1:8000")
    return url.strip().rstrip("/")


def _checked_key(key: str) -> str:
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError("the API key holds characters that no key has; copy it again")
    return key


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, ValueError):
        return None
