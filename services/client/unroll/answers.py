"""What an HTTP answer means: a value, a refusal, or that one should ask again, and when. Knows no connection."""

import random
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from unroll.errors import APIError, NotFoundError, ProtocolError, refusal

Answer = TypeVar("Answer", bound=BaseModel)

LONGEST_DELAY_SECONDS = 30.0
LONGEST_RATE_LIMIT_SECONDS = 10.0
TOO_MANY_REQUESTS = 429
_TRY_AGAIN = frozenset({502, 503, 504})
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


def identifier(kind: str, value: str) -> str:
    """`value`, safe as one segment of a path. Raises NotFoundError where it cannot be an id of anything."""
    if not _IDENTIFIER.fullmatch(value):
        raise NotFoundError(f"no {kind} {value!r}")
    return value


def parsed(kind: type[Answer], value: Any, url: str) -> Answer:
    """`value` as `kind`. Raises ProtocolError where it is none."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise ProtocolError(f"{url} answered something that is no {kind.__name__}: {error}") from error


def decoded(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in an answer. Raises ProtocolError where there is none."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ProtocolError(f"{response.url} did not answer a JSON object; is this an Unroll server?")
    return body


def refused(response: httpx.Response) -> APIError:
    """The error that an answer stands for which is not 2xx, and which was read."""
    return refusal(response.status_code, response.content, response.headers.get("x-request-id"))


def delay_seconds(response: httpx.Response, attempt: int) -> float | None:
    """How long to wait before asking again; None where that would not help."""
    header = response.headers.get("Retry-After", "")
    asked = float(header) if header.isascii() and header.isdigit() else None
    if response.status_code == TOO_MANY_REQUESTS:
        return asked if asked is not None and asked <= LONGEST_RATE_LIMIT_SECONDS else None
    if response.status_code in _TRY_AGAIN:
        return backoff_seconds(attempt) if asked is None else min(asked, LONGEST_DELAY_SECONDS)
    return None


def backoff_seconds(attempt: int) -> float:
    """0.25, 0.5, 1, 2, 2, ... seconds, spread so that many clients do not come back at once."""
    return float(min(0.25 * 2**attempt, 2.0) * random.uniform(0.75, 1.25))


def named(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parameters that have a value."""
    return {name: value for name, value in (params or {}).items() if value is not None}
