"""Jobs over HTTP: submit, list, follow, wait, pause, cancel. Knows no default of a spec: those are the server's."""

import json
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from unroll.errors import JobCancelledError, JobFailedError, ProtocolError
from unroll.sse import ServerSentEvent, follow
from unroll.transport import Transport, identifier
from unroll.types import Checkpoint, Event, JobError, JobRecord, Metrics


class Jobs:
    """The training jobs of this key's tenant."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(self, *, idempotency_key: str | None = None, **spec: Any) -> JobRecord:
        """Queue a job: `submit(dataset="ds-...", model={"cell": "gru"}, train={"max_steps": 500})`.

        Fields that are not named get the server's defaults. With the same `idempotency_key` the same job is answered;
        without one a fresh key makes retries after a lost connection safe.
        Raises InvalidRequestError naming the field in `param`, NotFoundError, QuotaError, ServerUnreachableError.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._record("POST", "/v1/jobs", json=spec, headers=headers, is_idempotent=True)

    def list(self, *, state: str | None = None, limit: int | None = None) -> Iterator[JobRecord]:
        """Jobs, newest first, fetched page by page as they are asked for."""
        return self._transport.pages(JobRecord, "/v1/jobs", {"state": state}, limit=limit)

    def get(self, job: str) -> JobRecord:
        """One job. Raises NotFoundError."""
        return self._record("GET", _path(job))

    def cancel(self, job: str) -> JobRecord:
        """Ask for its end; a job that has ended stays as it is. Raises NotFoundError."""
        return self._record("POST", f"{_path(job)}/cancel", is_idempotent=True)

    def pause(self, job: str) -> JobRecord:
        """Set it aside; a running job stops after its step, with a checkpoint. Raises NotFoundError."""
        return self._record("POST", f"{_path(job)}/pause", is_idempotent=True)

    def resume(self, job: str) -> JobRecord:
        """Queue a paused job again; it goes on exactly where it stopped. Raises NotFoundError."""
        return self._record("POST", f"{_path(job)}/resume", is_idempotent=True)

    def retry(self, job: str, *, idempotency_key: str | None = None, **changes: Any) -> JobRecord:
        """Queue a new job that goes on where an ended one stopped: `retry(job, train={"max_steps": 9000})`.

        Raises NotFoundError, ConflictError while it has not ended, InvalidRequestError for what cannot be changed.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._record("POST", f"{_path(job)}/retry", json=changes, headers=headers, is_idempotent=True)

    def delete(self, job: str) -> dict[str, Any]:
        """Delete it with all it made. Raises NotFoundError, and ConflictError while it has not ended."""
        return self._transport.decode(self._transport.request("DELETE", _path(job)))

    def events(self, job: str, *, limit: int | None = None) -> Iterator[Event]:
        """What happened so far, oldest first."""
        return self._transport.pages(Event, f"{_path(job)}/events", limit=limit)

    def follow(self, job: str, **options: Any) -> Generator[Event, None, None]:
        """What happened and happens, up to the job's end; options and exceptions are those of `watch`."""
        with closing(self.watch(job, **options)) as events:
            for event in events:
                if event is not None:
                    yield event

    def watch(
        self,
        job: str,
        *,
        last_event_id: str | None = None,
        patience_seconds: float = 60.0,
        timeout_seconds: float | None = None,
        on_outage: Callable[[str], None] | None = None,
    ) -> Generator[Event | None, None, None]:
        """As `follow`, and None for each keep-alive: for whoever shows that time passes.

        Raises ServerUnreachableError, WaitTimeoutError and the APIError of a refusal, as `unroll.sse.follow` does.
        """
        frames = follow(
            self._transport,
            f"{_path(job)}/events",
            last_event_id=last_event_id,
            patience_seconds=patience_seconds,
            timeout_seconds=timeout_seconds,
            on_outage=on_outage,
        )
        with closing(frames):
            for frame in frames:
                yield None if frame is None else self._event(frame)

    def wait(self, job: str, *, timeout_seconds: float | None = None) -> JobRecord:
        """Block until the job has succeeded, and answer its record.

        Raises JobFailedError, JobCancelledError, WaitTimeoutError, ServerUnreachableError.
        """
        with closing(self.watch(job, timeout_seconds=timeout_seconds)) as events:
            for _ in events:
                pass
        return succeeded(self.get(job))

    def verify(self, job: str) -> JobRecord:
        """Queue the same job again, to end in the same `parameters_sha256`. Raises ConflictError, NotFoundError."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self._record("POST", f"{_path(job)}/verify", headers=headers, is_idempotent=True)

    def metrics(self, job: str) -> Iterator[Metrics]:
        """Its history: losses, speed, learning rate."""
        return self._transport.pages(Metrics, f"{_path(job)}/metrics")

    def logs(self, job: str) -> str:
        """Its log so far."""
        return self._transport.request("GET", f"{_path(job)}/logs").text

    def checkpoints(self, job: str) -> Iterator[Checkpoint]:
        """Its published checkpoints."""
        return self._transport.pages(Checkpoint, f"{_path(job)}/checkpoints")

    def _record(self, method: str, path: str, **how: Any) -> JobRecord:
        return self._transport.parse(JobRecord, self._transport.decode(self._transport.request(method, path, **how)))

    def _event(self, frame: ServerSentEvent) -> Event:
        try:
            value = json.loads(frame.data)
        except ValueError as error:
            raise ProtocolError(f"an event of {self._transport.url} is no JSON") from error
        return self._transport.parse(Event, value)


def succeeded(record: JobRecord) -> JobRecord:
    """`record`, where it says `succeeded`. Raises JobFailedError or JobCancelledError for the other two ends."""
    if record.state == "failed":
        error = record.error or JobError(type="unknown", message="the server kept no reason")
        raise JobFailedError(
            record.id, type=error.type, message=error.message, hint=error.hint, log_tail=error.log_tail
        )
    if record.state == "cancelled":
        raise JobCancelledError(record.id)
    if record.state != "succeeded":
        raise ProtocolError(f"the events of {record.id} ended, but it is {record.state}")
    return record


def _path(job: str) -> str:
    return f"/v1/jobs/{identifier('job', job)}"
