"""What the queue keeps of a job, a checkpoint and a data set, as the outside sees it. Knows no Redis."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from rnncore.datasets.summaries import DatasetKind, Summary
from rnncore.errors import FinalConflict
from rnncore.fusable import fuse_key, most_fused
from rnncore.spec import JobSpec


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Progress(_Record):
    """Where a job stands. `ratio` is the share of its budget used."""

    step: int = 0
    characters: int = 0
    ratio: float = 0.0
    eta_seconds: float | None = None
    characters_per_second: float | None = None


class Scores(_Record):
    """Losses in nats per symbol at `step`."""

    step: int
    train_loss: float | None = None
    validation_loss: float | None = None
    bits_per_character: float | None = Field(None, description="The validation loss in bits per symbol.")
    metrics: dict[str, float] = Field(default_factory=dict)


class QueuePlace(_Record):
    """Why a queued job waits. `position` 1 is next, over all tenants."""

    position: int
    reason: Literal[
        "no_free_worker", "backoff", "quota", "larger_job", "cluster_grows", "no_such_worker", "drained"
    ] = Field(
        description="no_free_worker: all are taken. backoff: a pause after a failure. quota: its tenant has as many as "
        "it may. larger_job: free workers are kept for one before it. cluster_grows: it needs workers that the cluster "
        "has to add. no_such_worker: none here could run it. "
        "drained: the service takes up no jobs until its operator lets it."
    )
    blocked_by: list[str] = Field(default_factory=list, description="Jobs whose end it waits for, ten at most.")
    eta_seconds: float | None = Field(
        None, description="When it will start, judged by how long jobs took; null where nothing is known yet."
    )


class JobError(_Record):
    """Why a job failed."""

    type: str
    message: str
    hint: str | None = None
    log_tail: str = ""


class Placement(_Record):
    """Where a job runs or ran last."""

    start: Literal["warm", "cold"]
    node: str
    pid: int
    device: str
    threads: int
    workers: int = Field(1, description="Workers that train it together; what else is told is of the first of them.")
    nodes: tuple[str, ...] = Field((), description="Where there are several workers: the node of each.")
    fused_with: tuple[str, ...] = Field(
        (), description="Of a fused trial: the jobs that were trained in one program with it when it began."
    )
    environment: dict[str, str | int] = Field(
        default_factory=dict,
        description="What must be equal for two runs to be equal bit for bit. "
        "What changed between attempts has its values in turn.",
    )


class TrialOf(_Record):
    """Which trial of which sweep a job is. `rungs`: its score at each rung of successive halving that it came to."""

    sweep: str
    number: int
    rungs: list[float] = Field(default_factory=list)
    stopped_early: Literal["halving", "budget"] | None = Field(
        None, description="halving: worse than others at its last rung. budget: the sweep's seconds were used up."
    )

    @classmethod
    def read(cls, fields: Mapping[str, str | None]) -> Self | None:
        """What a job's hash says of it as a trial; None for a job that is none."""
        if not fields.get("sweep"):
            return None
        rungs = [float(score) for score in (fields.get("rungs") or "").split()]
        told = {"sweep": fields["sweep"], "number": fields["trial"], "stopped_early": fields.get("stopped_early")}
        return cls.model_validate({**told, "rungs": rungs})


class JobRecord(_Record):
    """One job: what was asked for (`spec`) and what happened to it. Times in Unix seconds."""

    id: str
    object: Literal["job"] = "job"
    state: JobState
    spec: JobSpec | None = Field(description="null only where the record was altered (error.type envelope).")
    tenant: str
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    attempt: int = Field(0, description="Starts so far.")
    epoch: int = Field(0, description="Rises at every claim; fences off earlier ones.")
    progress: Progress = Progress()
    last: Scores | None = None
    best: Scores | None = None
    primary_metric: Literal["validation_loss"] = "validation_loss"
    queue: QueuePlace | None = None
    error: JobError | None = None
    warnings: list[str] = Field(default_factory=list)
    placement: Placement | None = None
    parameters_sha256: str | None = Field(None, description="SHA-256 of the final weights.safetensors.")
    cancel_requested: bool = False
    trial: TrialOf | None = Field(None, description="Of a job that a sweep made.")

    def asked(self) -> JobSpec:
        """What was asked for. Raises FinalConflict where the record was altered, so that nobody knows."""
        if self.spec is None:
            raise FinalConflict(f"the record of {self.id} was altered outside the service", param="job_id")
        return self.spec


class Checkpoint(_Record):
    """One published checkpoint; `model` is the name it answers under."""

    object: Literal["checkpoint"] = "checkpoint"
    model: str
    job: str
    step: int
    epoch: int
    path: str = Field(exclude=True)
    created_at: float
    train_loss: float | None = None
    validation_loss: float | None = None
    bits_per_character: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    num_bytes: int = Field(0, description="Size of its files.")
    parameters_sha256: str
    is_best: bool = False
    is_latest: bool = False


class Dataset(_Record):
    """One uploaded data set. `blob` is where its bytes lie."""

    id: str
    object: Literal["dataset"] = "dataset"
    kind: DatasetKind
    name: str | None = None
    tenant: str
    created_at: float
    num_bytes: int
    sha256: str
    summary: Summary
    uses: int = Field(0, description="Unfinished jobs that read it.")


class Event(_Record):
    """One thing that happened to a job. `id` rises; `data` depends on `type`.

    reset: events behind the one that was asked for are kept no more; look at the record and the history instead.
    """

    id: str
    object: Literal["event"] = "event"
    type: Literal["state", "metrics", "checkpoint", "message", "reset"]
    created_at: float
    data: dict[str, Any]


class NewTrial(NamedTuple):
    """The trial of a sweep that a job is to be, and the values that the sweep chose for it."""

    sweep: str
    number: int
    parameters: Mapping[str, Any]
    may_fuse: bool = False

    def kept(self, job_id: str) -> tuple[str, int, str]:
        """Sweep, number, and the JSON that the sweep keeps of the trial."""
        return self.sweep, self.number, json.dumps({"job": job_id, "parameters": dict(self.parameters)})

    def fusing(self, spec: JobSpec) -> tuple[str, int]:
        """What other trials of the sweep must share with it to be trained beside it, and how many those can be."""
        key = fuse_key(spec) if self.may_fuse else None
        return (key, most_fused(spec)) if key else ("", 1)


class Claim(NamedTuple):
    """The right to run a job: every write must show (epoch, token). `is_first` on the first start of the job."""

    job: str
    tenant: str
    epoch: int
    token: str
    attempt: int
    spec: JobSpec
    seat: Literal["cpu", "gpu"] = "cpu"
    traceparent: str = ""
    workers: int = 1


class Seats(NamedTuple):
    """Places for workers, by what they compute on. `shares`: quarters left of GPUs that others have parts of."""

    cpu: int
    gpu: int
    shares: tuple[int, ...] = ()


class Capacity(NamedTuple):
    """What the workers of an installation could run were they all free. `memory` in bytes, of the largest worker.

    `most` is the number of workers, of whatever kind, that the cluster may grow to.
    """

    seats: Seats
    memory: int
    most: int = 0
