"""The one table: exception -> HTTP answer, and exception -> how a job ends. Knows no route and no queue."""

import math
from typing import NamedTuple

from rnncore.errors import (
    AccessDenied,
    Conflict,
    CorruptCheckpoint,
    FinalConflict,
    Forbidden,
    InvalidInput,
    NonFiniteLoss,
    NotFound,
    Overloaded,
    QuotaExceeded,
    StateExpired,
    StorageFull,
    StorageQuotaExceeded,
    TimedOut,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unavailable,
    UnrollError,
    Unsupported,
)


class Fault(NamedTuple):
    """What an exception becomes. `retriable`: the job may be tried again."""

    status: int
    type: str
    code: str
    retriable: bool = False


# The first line whose exception fits is used: special cases stand above what they specialise.
TABLE: tuple[tuple[type[Exception], Fault], ...] = (
    (TooLarge, Fault(413, "invalid_request_error", "too_large")),
    (TooSlow, Fault(408, "invalid_request_error", "too_slow")),
    (Unsupported, Fault(415, "invalid_request_error", "unsupported")),
    (InvalidInput, Fault(422, "invalid_request_error", "invalid_input")),
    (AccessDenied, Fault(401, "authentication_error", "invalid_api_key")),
    (Forbidden, Fault(403, "permission_error", "forbidden")),
    (NotFound, Fault(404, "invalid_request_error", "not_found")),
    (Conflict, Fault(409, "invalid_request_error", "conflict")),
    (StateExpired, Fault(410, "invalid_request_error", "state_expired")),
    (QuotaExceeded, Fault(429, "insufficient_quota", "quota_exceeded", retriable=True)),
    (TooManyRequests, Fault(429, "rate_limit_error", "rate_limit_exceeded", retriable=True)),
    (Overloaded, Fault(503, "server_error", "overloaded", retriable=True)),
    (StorageQuotaExceeded, Fault(507, "insufficient_quota", "storage_quota_exceeded")),
    (StorageFull, Fault(507, "server_error", "storage_full", retriable=True)),
    (Unavailable, Fault(503, "server_error", "unavailable", retriable=True)),
    (CorruptCheckpoint, Fault(500, "server_error", "corrupt_checkpoint")),
    (TimedOut, Fault(500, "server_error", "timeout")),
    (NonFiniteLoss, Fault(500, "server_error", "non_finite_loss")),
    (MemoryError, Fault(500, "server_error", "out_of_memory")),
    (OSError, Fault(500, "server_error", "io_error", retriable=True)),
    (Exception, Fault(500, "server_error", "internal_error", retriable=True)),
)


def fault_of(error: Exception) -> Fault:
    """The table's line for `error`."""
    return next(fault for kind, fault in TABLE if isinstance(error, kind))


def envelope(message: str, *, type: str, code: str | None, param: str | None = None) -> dict[str, object]:
    """The one shape of every error answer."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def error_answer(error: Exception) -> tuple[int, dict[str, object]]:
    """Status and body for `error`. What nobody foresaw is not told to strangers."""
    fault = fault_of(error)
    known = isinstance(error, UnrollError)
    message = str(error) if known else "the server failed; its log names this request's x-request-id"
    param = error.param if isinstance(error, UnrollError) else None
    return fault.status, envelope(message, type=fault.type, code=fault.code, param=param)


def retry_after(error: Exception) -> str | None:
    """Whole seconds after which asking again may help, as the header Retry-After has them."""
    if isinstance(error, TooManyRequests):
        return str(max(1, math.ceil(error.retry_after)))
    return "1" if fault_of(error).status == 503 else None


def answer_headers(error: Exception) -> dict[str, str]:
    """What clients that ask again by themselves should know of `error`: when to, or that it cannot help."""
    seconds = retry_after(error)
    asks_in_vain = {"x-should-retry": "false"} if isinstance(error, FinalConflict | StorageQuotaExceeded) else {}
    return asks_in_vain | ({"retry-after": seconds} if seconds else {})


def job_error(error: Exception) -> tuple[dict[str, str | None], bool]:
    """Type, message and hint of a failed job, and whether trying again may help."""
    fault = fault_of(error)
    hint = error.hint if isinstance(error, UnrollError) else None
    message = str(error) or type(error).__name__
    return {"type": fault.code, "message": message[:2000], "hint": hint}, fault.retriable
