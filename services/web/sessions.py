"""Signed session cookies and their CSRF tokens, as pure functions. Knows no HTTP and never sees the API key.

Cookie: `<key id, base64url>.<issued, Unix milliseconds>.<HMAC-SHA256 of both>`.
"""

import base64
import hashlib
import hmac

COOKIE_NAME = "unroll_session"
CSRF_HEADER = "x-csrf-token"
LIFETIME_SECONDS = 12 * 3600


def issue(secret: bytes, key_id: str, now: float) -> str:
    """The cookie that says `key_id` logged in at `now` (Unix seconds)."""
    holder = base64.urlsafe_b64encode(key_id.encode()).decode().rstrip("=")
    payload = f"{holder}.{int(now * 1000)}"
    return f"{payload}.{_mac(secret, 'session', payload.encode())}"


def verify(secret: bytes, cookie: str, now: float) -> str | None:
    """The key id in `cookie`; None where it is forged, altered, malformed or older than LIFETIME_SECONDS."""
    payload, _, mac = cookie.rpartition(".")
    expected = _mac(secret, "session", payload.encode(errors="replace"))
    if not hmac.compare_digest(mac.encode(errors="replace"), expected.encode()):
        return None
    holder, _, issued = payload.partition(".")  # ours: the signature holds
    if now - int(issued) / 1000 >= LIFETIME_SECONDS:
        return None
    return base64.urlsafe_b64decode(holder + "=" * (-len(holder) % 4)).decode()


def csrf_token(secret: bytes, cookie: str) -> str:
    """What a page of this session shows on every POST."""
    return _mac(secret, "csrf", cookie.encode(errors="replace"))


def csrf_matches(secret: bytes, cookie: str, token: str) -> bool:
    """Whether `token` belongs to the session of `cookie`, in constant time."""
    return hmac.compare_digest(csrf_token(secret, cookie).encode(), token.encode(errors="replace"))


def _mac(secret: bytes, purpose: str, message: bytes) -> str:
    return hmac.new(secret, f"unroll web {purpose}\0".encode() + message, hashlib.sha256).hexdigest()
