"""State handles: what was put in comes out, for its tenant and parameters, until it expires, for nobody else."""

import base64

import numpy as np
import pytest

from rnncore.errors import InvalidInput, StateExpired
from services.sampling.handles import PREFIX, Context, StateHandles

SECRET = b"a secret"
CONTEXT = Context(np.array([0.5, -1e-30, 3.25], dtype=np.float32), np.array([7, 65_535], dtype=np.int64))
OURS = {"tenant": "lab", "parameters": "abc"}


class Clock:
    """Time as the test has it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def handles(clock: Clock | None = None, secret: bytes = SECRET) -> StateHandles:
    return StateHandles(secret, lifetime_seconds=60, now=clock or Clock())


def test_context_comes_back_bit_for_bit_from_another_process() -> None:
    found = handles().read(handles().make(CONTEXT, **OURS), **OURS)
    assert found.state_S.tobytes() == CONTEXT.state_S.tobytes()
    assert (found.state_S.dtype, found.unread.dtype, found.unread.tolist()) == (np.float32, np.int64, [7, 65_535])


@pytest.mark.parametrize("theirs", [OURS | {"tenant": "other"}, OURS | {"parameters": "abd"}])
def test_handle_of_another_tenant_or_other_parameters_is_refused(theirs: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="no state of this tenant and these parameters") as refused:
        handles().read(handles().make(CONTEXT, **OURS), **theirs)
    assert refused.value.param == "state"


def test_handle_of_another_installation_is_refused() -> None:
    with pytest.raises(InvalidInput):
        handles(secret=b"theirs").read(handles().make(CONTEXT, **OURS), **OURS)


def test_handle_expires() -> None:
    clock = Clock()
    handle = handles(clock).make(CONTEXT, **OURS)
    clock.now += 59
    handles(clock).read(handle, **OURS)
    clock.now += 1
    with pytest.raises(StateExpired, match="kept for 60 s"):
        handles(clock).read(handle, **OURS)


def test_every_altered_byte_is_noticed() -> None:
    handle = handles().make(CONTEXT, **OURS)
    raw = base64.urlsafe_b64decode(handle.removeprefix(PREFIX))
    for place in range(len(raw)):
        altered = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(InvalidInput):
            handles().read(PREFIX + base64.urlsafe_b64encode(altered).decode(), **OURS)


@pytest.mark.parametrize("handle", ["", "state-", "state-AAAA", "x", "state-é", "state-" + "A" * 400, "A" * 400])
def test_what_is_no_handle_is_refused(handle: str) -> None:
    with pytest.raises(InvalidInput):
        handles().read(handle, **OURS)
