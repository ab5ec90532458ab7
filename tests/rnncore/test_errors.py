"""The exception tree is the one its module draws."""

import inspect
import re

from rnncore import errors
from rnncore.errors import InvalidInput, Stopped, UnrollError


def test_docstring_draws_every_exception_under_its_parent() -> None:
    drawn: dict[str, str] = {}
    branch = ["UnrollError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^((?:│   |    )*)[├└]── (\w+)", line):
            depth = len(match[1]) // 4 + 1
            branch[depth:] = [match[2]]
            drawn[match[2]] = branch[depth - 1]
    defined = {
        name: kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind is not UnrollError
    }
    assert drawn == defined


def test_error_carries_message_field_and_hint() -> None:
    error = InvalidInput("too short", param="train.batch_size", hint="lower it")
    assert (str(error), error.message, error.param, error.hint) == (
        "too short",
        "too short",
        "train.batch_size",
        "lower it",
    )


def test_field_and_hint_may_be_left_out() -> None:
    error = Stopped("enough")
    assert (error.param, error.hint) == (None, None)
