"""Clients of an Unroll service: `from unroll import Client, AsyncClient`. They know HTTP alone: no torch, no ray.

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
    from unroll.aio.client import AsyncClient
    from unroll.client import Client
    from unroll.types import (
        Checkpoint,
        Completion,
        Dataset,
        Event,
        Inspection,
        JobRecord,
        Metrics,
        Model,
        Predictions,
        Sweep,
        SweepReport,
        Trial,
        Usage,
    )

_HOMES = {
    "AsyncClient": "unroll.aio.client",
    "Client": "unroll.client",
    "Checkpoint": "unroll.types",
    "Completion": "unroll.types",
    "Dataset": "unroll.types",
    "Event": "unroll.types",
    "Inspection": "unroll.types",
    "JobRecord": "unroll.types",
    "Metrics": "unroll.types",
    "Model": "unroll.types",
    "Predictions": "unroll.types",
    "Sweep": "unroll.types",
    "SweepReport": "unroll.types",
    "Trial": "unroll.types",
    "Usage": "unroll.types",
}

__all__ = [
    "APIError",
    "AsyncClient",
    "AuthenticationError",
    "Checkpoint",
    "Client",
    "Completion",
    "ConfigurationError",
    "ConflictError",
    "Dataset",
    "Event",
    "Inspection",
    "InvalidRequestError",
    "JobCancelledError",
    "JobFailedError",
    "JobRecord",
    "Metrics",
    "Model",
    "NotFoundError",
    "Predictions",
    "ProtocolError",
    "QuotaError",
    "ServerUnreachableError",
    "ServiceUnavailableError",
    "Sweep",
    "SweepReport",
    "Trial",
    "UnrollError",
    "Usage",
    "WaitTimeoutError",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'unroll' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
