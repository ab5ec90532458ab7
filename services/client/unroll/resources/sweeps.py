"""Sweeps over HTTP: create, list, watch, cancel. Knows no search and no default: those are the server's."""

# Written by `make reference` from unroll/aio/resources/sweeps.py; change it there.

import uuid
from collections.abc import Iterator
from typing import Any, Unpack

from unroll.answers import identifier
from unroll.errors import WaitTimeoutError
from unroll.outcomes import sweep_succeeded
from unroll.requests import SweepFields
from unroll.transport import Transport
from unroll.types import Sweep, SweepReport, Trial

SECONDS_BETWEEN_LOOKS = 1.0


class Sweeps:
    """The sweeps of this key's tenant. Their trials are ordinary jobs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, *, idempotency_key: str | None = None, **spec: Unpack[SweepFields]) -> Sweep:
        """Start a sweep: `create(spec={"dataset": "ds-..."}, parameters={"train.learning_rate": {"values": [0.001,
        0.003]}}, search={"method": "grid"})`.

        With the same `idempotency_key` the same sweep is answered; without one a fresh key makes retries after a lost
        connection safe. Raises InvalidRequestError naming the field in `param`, NotFoundError, ConflictError.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._transport.ask(Sweep, "POST", "/v1/sweeps", json=spec, headers=headers, is_idempotent=True)

    def list(self, *, limit: int | None = None) -> Iterator[Sweep]:
        """Sweeps, newest first."""
        return self._transport.pages(Sweep, "/v1/sweeps", limit=limit)

    def retrieve(self, sweep: str) -> SweepReport:
        """One sweep, with the best trial and each point's mean and spread. Raises NotFoundError."""
        return self._transport.ask(SweepReport, "GET", _path(sweep))

    def trials(self, sweep: str) -> Iterator[Trial]:
        """Its trials in the order in which they were made. Raises NotFoundError."""
        return self._transport.pages(Trial, f"{_path(sweep)}/trials")

    def delete(self, sweep: str) -> dict[str, Any]:
        """Delete the record of a sweep that has ended; its jobs stay. Raises NotFoundError, ConflictError."""
        return self._transport.ask_plain("DELETE", _path(sweep))

    def cancel(self, sweep: str) -> Sweep:
        """Make no trial more and cancel those that have not ended. Raises NotFoundError."""
        return self._transport.ask(Sweep, "POST", f"{_path(sweep)}/cancel", is_idempotent=True)

    def watch(
        self,
        sweep: str,
        *,
        timeout_seconds: float | None = None,
        seconds_between: float = SECONDS_BETWEEN_LOOKS,
    ) -> Iterator[SweepReport]:
        """The sweep as it is now, and again each second until it has ended. Raises WaitTimeoutError."""
        deadline = None if timeout_seconds is None else self._transport.clock() + timeout_seconds
        while True:
            report = self.retrieve(sweep)
            yield report
            if report.is_terminal:
                return
            if deadline is not None and self._transport.clock() >= deadline:
                raise WaitTimeoutError(f"still not finished after {timeout_seconds:g} s")
            self._transport.sleep(seconds_between)

    def wait(self, sweep: str, *, timeout_seconds: float | None = None) -> SweepReport:
        """Return once the sweep has succeeded, with its report.

        Raises JobFailedError, JobCancelledError, WaitTimeoutError, ServerUnreachableError.
        """
        for report in self.watch(sweep, timeout_seconds=timeout_seconds):
            last = report
        return sweep_succeeded(last)


def _path(sweep: str) -> str:
    return f"/v1/sweeps/{identifier('sweep', sweep)}"
