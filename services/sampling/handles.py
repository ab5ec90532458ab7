"""State handles: a whole conversation as one signed string. Nothing is kept here, so nothing dies with a replica.

A handle is the recurrent state, a few kilobytes, and the symbols that it has not read yet; signed for one tenant and
one set of parameters, good until it expires.
"""

import base64
import binascii
import hmac
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore.errors import InvalidInput, StateExpired

PREFIX = "state-"
_HEADER = struct.Struct("<BQII")  # version, when it expires, floats of the state, unread symbols
_VERSION = 1
_SIGNATURE_BYTES = 32


class Context(NamedTuple):
    """Where a text stands: the state before the last symbols, and those symbols, at least one."""

    state_S: NDArray[np.float32]
    unread: NDArray[np.int64]


class StateHandles:
    """Makes and reads handles with one signing secret."""

    def __init__(self, secret: bytes, *, lifetime_seconds: float, now: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(secret, b"state handle", "sha256")
        self._lifetime = lifetime_seconds
        self._now = now

    def make(self, context: Context, *, tenant: str, parameters: str) -> str:
        """The handle of `context`, for `tenant` and the parameters of that hash alone."""
        expires = int(self._now() + self._lifetime)
        body = _HEADER.pack(_VERSION, expires, len(context.state_S), len(context.unread))
        body += context.state_S.astype("<f4").tobytes() + context.unread.astype("<i4").tobytes()
        return PREFIX + base64.urlsafe_b64encode(self._sign(body, tenant, parameters) + body).decode()

    def read(self, handle: str, *, tenant: str, parameters: str) -> Context:
        """What `handle` stands for. Raises InvalidInput for one that is not ours, StateExpired for one too old."""
        try:
            raw = base64.b64decode(handle.removeprefix(PREFIX), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _foreign() from error
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not handle.startswith(PREFIX) or len(body) < _HEADER.size:
            raise _foreign()
        if not hmac.compare_digest(signature, self._sign(body, tenant, parameters)):
            raise _foreign()
        _, expires, num_floats, num_unread = _HEADER.unpack_from(body)
        if self._now() >= expires:
            raise StateExpired(
                f"the state expired; it is kept for {self._lifetime:g} s. Send the whole text as prompt instead",
                param="state",
            )
        end = _HEADER.size + 4 * num_floats
        state_S = np.frombuffer(body[_HEADER.size : end], dtype="<f4").astype(np.float32)
        return Context(state_S, np.frombuffer(body[end:], dtype="<i4", count=num_unread).astype(np.int64))

    def _sign(self, body: bytes, tenant: str, parameters: str) -> bytes:
        return hmac.digest(self._key, f"{tenant}\0{parameters}\0".encode() + body, "sha256")


def _foreign() -> InvalidInput:
    return InvalidInput(
        "is no state of this tenant and these parameters; a state goes on with the very checkpoint that made it "
        "(name it as job-…:step-N, not :latest), or send the whole text as prompt",
        param="state",
    )
