"""What the entries of a backup say of storage: which files the data in Redis refer to."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.jobqueue.dump import Entry
from services.jobqueue.records import JobState


@dataclass
class Contents:
    """Jobs, data sets (blob -> its SHA-256) and checkpoints (folders) that were seen among the entries."""

    jobs: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    datasets: dict[str, str] = field(default_factory=dict)
    checkpoints: list[str] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Takes note of one entry."""
        kind, _, job_id = entry.key.partition(":")
        fields = dict(_pairs(entry.values)) if entry.kind == "hash" else {}
        if kind == "job":
            self.jobs.append(job_id)
            if not JobState(fields.get("state", JobState.FAILED)).is_terminal:
                self.unfinished.append(job_id)
        elif kind == "dataset":
            record = json.loads(fields["record"])
            self.datasets[record["blob"]] = record["dataset"]["sha256"]
        elif kind == "checkpoints":
            self.checkpoints += [json.loads(raw)["path"] for raw in fields.values()]


def _pairs(values: list[str]) -> Iterator[tuple[str, str]]:
    return zip(values[::2], values[1::2], strict=True)
