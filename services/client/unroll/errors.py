"""Everything the client raises, and the exit code that the command line makes of it. Knows no HTTP library.

UnrollError                       1   any of the below
|- ConfigurationError             2   a setting or an argument cannot be used
|- ServerUnreachableError         6   no answer: refused, cut off, silent
|- ProtocolError                  1   an answer that is not of this interface
|- WaitTimeoutError               7   waited as long as asked; the job still runs
|- JobFailedError                 3   the job ended `failed`
|- JobCancelledError              8   the job ended `cancelled`
`- APIError                       1   the server refused; carries status, type, param, code, request_id
   |- AuthenticationError         4   401, 403; also: no key was found
   |- NotFoundError               5   404
   |- ConflictError               1   409
   |- InvalidRequestError         1   400, 413, 415, 422
   |- QuotaError                  9   429; 507: no room left
   `- ServiceUnavailableError     6   502, 503, 504
"""

import json
from typing import Any, ClassVar


class UnrollError(Exception):
    """Root of everything this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(UnrollError):
    """A setting, a file or an argument on this side cannot be used."""

    exit_code = 2


class ServerUnreachableError(UnrollError):
    """The server did not answer, or broke off its answer."""

    exit_code = 6


class ProtocolError(UnrollError):
    """The server answered something that is not of this interface."""


class WaitTimeoutError(UnrollError):
    """The time given for waiting is over; the job goes on."""

    exit_code = 7


class JobFailedError(UnrollError):
    """The job ended `failed`. `type`, `message`, `hint` and `log_tail` are the record's."""

    exit_code = 3

    def __init__(self, job: str, *, type: str, message: str, hint: str | None = None, log_tail: str = "") -> None:
        self.job, self.type, self.message, self.hint, self.log_tail = job, type, message, hint, log_tail
        lines = [f"{job} failed: {type}: {message}"]
        if hint:
            lines.append(f"hint: {hint}")
        if log_tail.strip():
            lines += ["last lines of its log:", log_tail.rstrip()]
        super().__init__("\n".join(lines))


class JobCancelledError(UnrollError):
    """The job ended `cancelled`."""

    exit_code = 8

    def __init__(self, job: str) -> None:
        self.job = job
        super().__init__(f"{job} was cancelled")


class APIError(UnrollError):
    """The server refused. `status` is None where the refusal came inside a stream."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.type = message, status, type
        self.param, self.code, self.request_id = param, code, request_id


class AuthenticationError(APIError):
    """No key, a wrong key, or one that may not do this."""

    exit_code = 4


class NotFoundError(APIError):
    """No such job, data set or model for this key."""

    exit_code = 5


class ConflictError(APIError):
    """What was asked contradicts the present state, such as deleting a data set in use."""


class InvalidRequestError(APIError):
    """The request itself is refused; `param` names the field."""


class QuotaError(APIError):
    """Refused by a quota or a rate limit, or because the server has no room left."""

    exit_code = 9


class ServiceUnavailableError(APIError):
    """The server is up but cannot answer now."""

    exit_code = 6


_BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: QuotaError,
    502: ServiceUnavailableError,
    503: ServiceUnavailableError,
    504: ServiceUnavailableError,
    507: QuotaError,
}


def refusal(status: int, body: bytes, request_id: str | None = None) -> APIError:
    """The error that an answer with this status and body stands for; never raises, whatever the body is."""
    kind = _BY_STATUS.get(status, APIError)
    try:
        envelope = json.loads(body)["error"]
        fields = _envelope_fields(envelope)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = body[:200].decode("utf-8", "replace").strip()
        return kind(f"the server answered {status}" + (f": {said}" if said else ""), status=status)
    return kind(status=status, request_id=request_id, **fields)


def refusal_in_stream(envelope: Any) -> APIError:
    """The error that an `{"error": ...}` frame of a stream stands for."""
    try:
        return APIError(**_envelope_fields(envelope))
    except (TypeError, AttributeError):
        return APIError("the stream ended with an error that says nothing more")


def _envelope_fields(envelope: Any) -> dict[str, Any]:
    message = envelope.get("message") or "the server refused without a reason"
    rest = {name: envelope.get(name) for name in ("type", "param", "code")}
    return {"message": str(message), **{name: None if value is None else str(value) for name, value in rest.items()}}
