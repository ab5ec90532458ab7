"""Jobs over HTTP: submit, list, follow, wait, pause, cancel. Knows no default of a spec: those are the server's."""

# Written by `make reference` from unroll/aio/resources/jobs.py; change it there.

import json
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, Unpack

from unroll.answers import identifier, parsed
from unroll.errors import ProtocolError
from unroll.frames import ServerSentEvent
from unroll.outcomes import succeeded
from unroll.requests import JobFields
from unroll.sse import follow
from unroll.transport import Transport
from unroll.types import Checkpoint, CheckpointSamples, Event, Inspection, JobRecord, Metrics


class Jobs:
    """The training jobs of this key's tenant."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(self, *, idempotency_key: str | None = None, **spec: Unpack[JobFields]) -> JobRecord:
        """Queue a job: `submit(dataset="ds-...", model={"cell": "gru"}, train={"max_steps": 500})`.

        Fields that are not named get the server's defaults. With the same `idempotency_key` the same job is answered;
        without one a fresh key makes retries after a lost connection safe.
        Raises InvalidRequestError naming the field in `param`, NotFoundError, QuotaError, ServerUnreachableError.
        """
        return self._once("/v1/jobs", idempotency_key, spec)

    def list(
        self, *, state: str | None = None, metadata: Mapping[str, str] | None = None, limit: int | None = None
    ) -> Iterator[JobRecord]:
        """Jobs, newest first, fetched page by page as they are asked for; those in `state`, and with all `metadata`."""
        pairs = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
        return self._transport.pages(JobRecord, "/v1/jobs", {"state": state, **pairs}, limit=limit)

    def get(self, job: str) -> JobRecord:
        """One job. Raises NotFoundError."""
        return self._transport.ask(JobRecord, "GET", _path(job))

    def cancel(self, job: str) -> JobRecord:
        """Ask for its end; a job that has ended stays as it is. Raises NotFoundError."""
        return self._transport.ask(JobRecord, "POST", f"{_path(job)}/cancel", is_idempotent=True)

    def pause(self, job: str) -> JobRecord:
        """Set it aside; a running job stops after its step, with a checkpoint. Raises NotFoundError."""
        return self._transport.ask(JobRecord, "POST", f"{_path(job)}/pause", is_idempotent=True)

    def resume(self, job: str) -> JobRecord:
        """Queue a paused job again; it goes on exactly where it stopped. Raises NotFoundError."""
        return self._transport.ask(JobRecord, "POST", f"{_path(job)}/resume", is_idempotent=True)

    def retry(self, job: str, *, idempotency_key: str | None = None, **changes: Unpack[JobFields]) -> JobRecord:
        """Queue a new job that goes on where an ended one stopped: `retry(job, train={"max_steps": 9000})`.

        Raises NotFoundError, ConflictError while it has not ended, InvalidRequestError for what cannot be changed.
        """
        return self._once(f"{_path(job)}/retry", idempotency_key, changes)

    def verify(self, job: str, *, idempotency_key: str | None = None) -> JobRecord:
        """Queue the same job again, to end in the same `parameters_sha256`. Raises ConflictError, NotFoundError."""
        return self._once(f"{_path(job)}/verify", idempotency_key, None)

    def delete(self, job: str) -> dict[str, Any]:
        """Delete it with all it made. Raises NotFoundError, and ConflictError while it has not ended."""
        return self._transport.ask_plain("DELETE", _path(job))

    def events(self, job: str, *, limit: int | None = None) -> Iterator[Event]:
        """What happened so far, oldest first."""
        return self._transport.pages(Event, f"{_path(job)}/events", limit=limit)

    def follow(
        self,
        job: str,
        *,
        last_event_id: str | None = None,
        patience_seconds: float = 60.0,
        timeout_seconds: float | None = None,
        on_outage: Callable[[str], None] | None = None,
    ) -> Generator[Event, None, None]:
        """What happened and happens, up to the job's end; options and exceptions are those of `watch`."""
        events = self.watch(
            job,
            last_event_id=last_event_id,
            patience_seconds=patience_seconds,
            timeout_seconds=timeout_seconds,
            on_outage=on_outage,
        )
        with closing(events):
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

        After a lost connection it goes on behind the last event. Raises ServerUnreachableError after
        `patience_seconds` without contact, WaitTimeoutError after `timeout_seconds` in all, and the APIError of a
        refusal. `on_outage` is told when contact is lost, and when it is back.
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
        """Return once the job has succeeded, with its record.

        Raises JobFailedError, JobCancelledError, WaitTimeoutError, ServerUnreachableError.
        """
        with closing(self.watch(job, timeout_seconds=timeout_seconds)) as events:
            for _ in events:
                pass
        return succeeded(self.get(job))

    def metrics(self, job: str, *, points: int | None = None) -> Iterator[Metrics]:
        """Its history: losses, speed, learning rate; with `points` about so many, extremes kept."""
        if points is None:
            return self._transport.pages(Metrics, f"{_path(job)}/metrics")
        return self._transport.page(Metrics, f"{_path(job)}/metrics", {"points": points})

    def logs(self, job: str) -> str:
        """Its log so far."""
        return (self._transport.request("GET", f"{_path(job)}/logs")).text

    def checkpoints(self, job: str) -> Iterator[Checkpoint]:
        """Its published checkpoints."""
        return self._transport.pages(Checkpoint, f"{_path(job)}/checkpoints")

    def samples(self, job: str) -> Iterator[CheckpointSamples]:
        """What it wrote at each checkpoint, those deleted since included, oldest first."""
        return self._transport.page(CheckpointSamples, f"{_path(job)}/samples", {})

    def inspection(self, job: str, step: int) -> Inspection:
        """What the checkpoint of `step` was like within, as the trainer saw it. Raises NotFoundError."""
        return self._transport.ask(Inspection, "GET", f"{_path(job)}/checkpoints/{step}/inspection")

    def _once(self, path: str, idempotency_key: str | None, body: Any) -> JobRecord:
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._transport.ask(JobRecord, "POST", path, json=body, headers=headers, is_idempotent=True)

    def _event(self, frame: ServerSentEvent) -> Event:
        try:
            value = json.loads(frame.data)
        except ValueError as error:
            raise ProtocolError(f"an event of {self._transport.url} is no JSON") from error
        return parsed(Event, value, self._transport.url)


def _path(job: str) -> str:
    return f"/v1/jobs/{identifier('job', job)}"
