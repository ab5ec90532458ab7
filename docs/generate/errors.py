"""`reference/errors.md`: what the server refuses with, how jobs fail, exit codes. From `faults` and the client's tree."""

import inspect

from unroll import errors as client_errors
from unroll.errors import UnrollError as ClientError

from docs.generate.markdown import code, table
from rnncore.errors import (
    AccessDenied,
    Forbidden,
    QuotaExceeded,
    StateExpired,
    StorageQuotaExceeded,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unsupported,
)
from services.faults import TABLE

_PAGE = """\
# Errors

## What the server answers

Every refusal has the same shape, and every answer carries `x-request-id`, under which the logs of the service tell more:

```json
{{"error": {{"message": "...", "type": "invalid_request_error", "param": "model.hidden_size", "code": "invalid_input"}}}}
```

`message` says the rule, the value and a way out; `param` names the field, where one is at fault. A stream that cannot go on
ends with the same object in an `error` event.

{answers}
Answers of 429 and 503 carry `Retry-After`, in seconds, where asking again can help; `x-should-retry: false` says that it cannot.
The Python client waits and asks again by itself; so does OpenAI's.

## How a job fails

`error.type` of a job that is `failed` is one of these, or `envelope` (its record in Redis was altered), or `poison` (it lost
three workers without making a checkpoint between). `error.message` says more, `error.hint` what to change, `error.log_tail`
the last lines of its log. What may pass is tried again, up to `max_attempts` times.

{jobs}
## Exit codes of `unroll`

{codes}
The Python client raises the exceptions of the third column; `unroll.UnrollError` is the root of all of them.
"""
# No training ever ends with these.
_OF_REQUESTS_ALONE = frozenset(
    {
        AccessDenied,
        Forbidden,
        QuotaExceeded,
        StateExpired,
        StorageQuotaExceeded,
        TooLarge,
        TooManyRequests,
        TooSlow,
        Unsupported,
    }
)
_OTHER_CODES = (
    (0, "it did what was asked", ""),
    (2, "the command line cannot be read: an unknown option, a missing or impossible value", ""),
    (130, "interrupted with Ctrl-C; a job that was watched goes on", ""),
)


def errors_page() -> str:
    answers = [(f.status, code(f.code), code(f.type), _sentence(kind)) for kind, f in TABLE]
    jobs = [
        (code(f.code), "yes" if f.retriable else "no", _sentence(kind))
        for kind, f in TABLE
        if kind not in _OF_REQUESTS_ALONE
    ]
    return _PAGE.format(
        answers=table(("status", "`code`", "`type`", "what happened"), sorted(answers)),
        jobs=table(("`error.type`", "tried again", "what happened"), jobs),
        codes=table(("code", "what happened", "exception"), sorted([*_OTHER_CODES, *_exceptions()])),
    )


def _exceptions() -> list[tuple[int, str, str]]:
    found = [kind for _, kind in inspect.getmembers(client_errors, inspect.isclass) if issubclass(kind, ClientError)]
    return [(kind.exit_code, _sentence(kind), code(kind.__name__)) for kind in found if kind is not ClientError]


def _sentence(kind: type[Exception]) -> str:
    said = {OSError: "Reading or writing failed.", MemoryError: "There was not enough memory.", Exception: "A fault."}
    return said.get(kind) or inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
