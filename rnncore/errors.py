"""Exceptions of Unroll's rooms. Knows no HTTP status and no job state: `services.faults` maps them.

UnrollError
├── InvalidInput            what somebody asked for or uploaded breaks a rule; retrying cannot help
│   ├── InvalidText         the bytes are not the text they claim to be, or too short, too plain, too rich
│   ├── UnknownSymbol       a symbol outside the model's vocabulary
│   ├── ShapeMismatch       a checkpoint and a request do not fit together
│   ├── TooLarge            a body over its limit
│   ├── Unsupported         a body in a form we do not read
│   └── TooSlow                 a body that comes too slowly
├── AccessDenied            no key, or not the right one
├── Forbidden               a key that must not do this
├── NotFound                no such thing, for this tenant
├── Conflict                the thing is there, in a state that forbids the request
│   └── FinalConflict       and that no waiting changes
├── StateExpired            a conversation that was left alone for too long
├── TooManyRequests         this key asks more often than it may; try again after `retry_after` seconds
│   └── QuotaExceeded       its tenant has as much as it may have
├── Overloaded              too much at once; try again later
├── StorageFull             too little space is left on the disk; try again once there is more
│   └── StorageQuotaExceeded    or of what a tenant may store
├── Unavailable             a part of the service does not answer; try again later
│   └── SchemaMismatch      the data in Redis are those of another version of the program
├── CorruptCheckpoint       a checkpoint folder that is incomplete, altered or unsigned
├── TimedOut                a job took longer than it was to take in all
├── NonFiniteLoss           training left the numbers; retrying the same job cannot help
└── Stopped                 training was told to stop; not a fault
    ├── Cancelled           by its owner
    ├── Suspended           to go on later from the checkpoint just made
    └── LeaseLost           the queue has given the job to somebody else
"""


class UnrollError(Exception):
    """Root of every exception the rooms raise on purpose. `param` names the field at fault, if one is."""

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.hint = hint


class InvalidInput(UnrollError):
    """What somebody asked for breaks a rule."""


class InvalidText(InvalidInput):
    """The text breaks a rule of its data set kind."""


class UnknownSymbol(InvalidInput):
    """A symbol that the vocabulary lacks; the message names it and its offset."""


class ShapeMismatch(InvalidInput):
    """A checkpoint does not fit what it is asked to do."""


class TooLarge(InvalidInput):
    """A body is over its limit."""


class Unsupported(InvalidInput):
    """A body comes in a form that is not read here."""


class TooSlow(InvalidInput):
    """A body comes more slowly than anybody would send it who means well."""


class AccessDenied(UnrollError):
    """No key, or not the right one."""


class Forbidden(UnrollError):
    """The key must not do this."""


class NotFound(UnrollError):
    """There is no such thing, as far as this tenant can know."""


class Conflict(UnrollError):
    """The state of the thing forbids the request."""


class FinalConflict(Conflict):
    """It will forbid it for ever; asking again cannot help."""


class StateExpired(UnrollError):
    """A state handle is past its lifetime."""


class TooManyRequests(UnrollError):
    """A limit of the key or its tenant is used up for the next `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(TooManyRequests):
    """The tenant has as much as it may have; nothing is wrong with the request."""


class Overloaded(UnrollError):
    """Too much at once."""


class StorageFull(UnrollError):
    """The space that is left is kept for what must go on."""


class StorageQuotaExceeded(StorageFull):
    """The tenant has as much in storage as it may."""


class Unavailable(UnrollError):
    """A part of the service does not answer."""


class SchemaMismatch(Unavailable):
    """The data in Redis were written by another version of the program, and are left alone."""


class CorruptCheckpoint(UnrollError):
    """A checkpoint that must not be used."""


class TimedOut(UnrollError):
    """The job's wall-clock limit is over."""


class NonFiniteLoss(UnrollError):
    """The loss became NaN or infinite."""


class Stopped(UnrollError):
    """Training ended because it was told to."""


class Cancelled(Stopped):
    """Its owner cancelled the job."""


class Suspended(Stopped):
    """The run stops behind a checkpoint of its present step, to go on another time."""


class LeaseLost(Stopped):
    """Another epoch of the job exists; this one must not write any more."""
