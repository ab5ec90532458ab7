"""Client of an Unroll service: `from unroll import Client`. Knows HTTP alone: no torch, no ray, nothing of the server.

The names below are imported at their first use, so that the `unroll` command answers before httpx is loaded.
"""

import importlib
from typing import TYPE_CHECKING

from unroll.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    ServerUnreachableError,
    ServiceUnavailableError,
    UnrollError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from unroll.client import Client
    from unroll.types import Checkpoint, Completion, Dataset, Event, JobRecord, Metrics, Model

_HOMES = {
    "Client": "unroll.client",
    "Checkpoint": "unroll.types",
    "Completion": "unroll.types",
    "Dataset": "unroll.types",
    "Event": "unroll.types",
    "JobRecord": "unroll.types",
    "Metrics": "unroll.types",
    "Model": "unroll.types",
}

__all__ = [
    "APIError",
    "AuthenticationError",
    "Checkpoint",
    "Client",
    "Completion",
    "ConfigurationError",
    "ConflictError",
    "Dataset",
    "Event",
    "InvalidRequestError",
    "JobCancelledError",
    "JobFailedError",
    "JobRecord",
    "Metrics",
    "Model",
    "NotFoundError",
    "ProtocolError",
    "QuotaError",
    "ServerUnreachableError",
    "ServiceUnavailableError",
    "UnrollError",
    "WaitTimeoutError",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'unroll' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
