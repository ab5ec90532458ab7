"""A job's hash and the entries of its stream, read as records. Knows no Redis."""

import json
from collections.abc import Mapping

from services.jobqueue.records import Event, JobRecord, JobState, QueuePlace, TrialOf


def event_of(event_id: str, fields: dict[str, str]) -> Event:
    """The event behind one entry of a job's stream."""
    created_at = int(event_id.split("-")[0]) / 1000
    return Event.model_validate(
        {"id": event_id, "type": fields["type"], "created_at": created_at, "data": json.loads(fields["data"])}
    )


def job_of(fields: Mapping[str, str], place: QueuePlace | None) -> JobRecord:
    """The record behind the hash of a job. Raises KeyError or ValueError for one that the service did not write."""
    parts = {
        name: json.loads(fields[name])
        for name in ("spec", "progress", "last", "best", "error", "placement", "warnings")
        if fields.get(name)
    }
    if fields["state"] != JobState.FAILED:
        parts.pop("error", None)
    times = {name: int(fields[name]) / 1000 for name in ("created_at", "started_at", "finished_at") if fields.get(name)}
    plain = {name: fields[name] for name in ("id", "state", "tenant", "attempt", "epoch")}
    return JobRecord.model_validate(
        {
            **plain,
            **parts,
            **times,
            "queue": place,
            "parameters_sha256": fields.get("parameters_sha256"),
            "cancel_requested": fields.get("cancel_requested") == "1",
            "trial": TrialOf.read(fields),
        }
    )


def seconds_of(milliseconds: str | None) -> float | None:
    """Unix seconds of a time that Redis keeps; None for what is none."""
    return int(milliseconds) / 1000 if milliseconds and milliseconds.isdigit() else None
