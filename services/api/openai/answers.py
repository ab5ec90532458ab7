"""Jobs, events and checkpoints as the strictest of OpenAI's clients take them; what is ours stands under `unroll`.

Nothing but these states, types and fields passes such a client, so a pause shows as `running` (while it is under way)
or `queued`, and `unroll_state` says what is true.
"""

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from services.api.openai.requests import LEARNING_RATE
from services.jobqueue.records import Checkpoint, Event, JobRecord, JobState

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]

_STATUSES: dict[JobState, Status] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "running",
    JobState.PAUSING: "running",
    JobState.PAUSED: "queued",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


class FineTuningError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class EchoedHyperparameters(BaseModel):
    """What the job trains with, in OpenAI's words; `auto` where passes over the data do not end it."""

    n_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]


class FineTuningJob(BaseModel):
    """OpenAI's fine-tuning job; `unroll` is the job's record."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    status: Status
    unroll_state: JobState
    model: str = Field(description="The cell, or the model that training starts from.")
    fine_tuned_model: str | None = Field(description="Of a job that succeeded: its best checkpoint.")
    organization_id: str = Field(description="The tenant.")
    training_file: str
    validation_file: str | None
    hyperparameters: EchoedHyperparameters
    seed: int
    trained_tokens: int | None = Field(description="Of a job that has ended: symbols read in training.")
    result_files: list[str] = Field(description="Always empty; the history is at /v1/jobs/{id}/metrics.")
    metadata: dict[str, str]
    error: FineTuningError | None
    unroll: JobRecord


class FineTuningEvent(BaseModel):
    """OpenAI's event; `unroll` is the event as it happened."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]
    unroll: Event


class CheckpointMetrics(BaseModel):
    """Losses in nats per symbol, over the whole validation part."""

    step: int
    train_loss: float | None
    full_valid_loss: float | None


class FineTuningCheckpoint(BaseModel):
    """OpenAI's checkpoint; `unroll` is ours."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics
    unroll: Checkpoint


def job_answer(job: JobRecord) -> FineTuningJob:
    """A job; of one whose record was altered, nobody knows what it was to be."""
    spec, eta = job.spec, job.progress.eta_seconds
    has_succeeded = job.state == JobState.SUCCEEDED
    return FineTuningJob(
        id=job.id,
        created_at=int(job.created_at),
        finished_at=int(job.finished_at) if job.finished_at else None,
        estimated_finish=int(time.time() + eta) if job.state == JobState.RUNNING and eta is not None else None,
        status=_STATUSES[job.state],
        unroll_state=job.state,
        model=(spec.init_from or spec.model.cell) if spec else "",
        fine_tuned_model=job.id if has_succeeded else None,
        organization_id=job.tenant,
        training_file=spec.dataset if spec else "",
        validation_file=spec.validation_dataset if spec else None,
        hyperparameters=EchoedHyperparameters(
            n_epochs=(spec.train.max_epochs if spec else None) or "auto",
            batch_size=spec.train.batch_size if spec else "auto",
            learning_rate_multiplier=round(spec.train.learning_rate / LEARNING_RATE, 9) if spec else "auto",
        ),
        seed=spec.train.seed if spec else 0,
        trained_tokens=job.progress.characters if job.state.is_terminal else None,
        result_files=[],
        metadata=spec.metadata if spec else {},
        error=FineTuningError(code=job.error.type, message=job.error.message) if job.error else None,
        unroll=job,
    )


def event_answer(event: Event) -> FineTuningEvent:
    """An event, its data in OpenAI's words where it has any."""
    level, message, data = _told(event)
    return FineTuningEvent(
        id=event.id,
        created_at=int(event.created_at),
        level=level,
        message=message,
        type="metrics" if event.type == "metrics" else "message",
        data=data,
        unroll=event,
    )


def checkpoint_answer(checkpoint: Checkpoint) -> FineTuningCheckpoint:
    """A checkpoint under the name that it answers to."""
    return FineTuningCheckpoint(
        id=checkpoint.model,
        created_at=int(checkpoint.created_at),
        fine_tuned_model_checkpoint=checkpoint.model,
        fine_tuning_job_id=checkpoint.job,
        step_number=checkpoint.step,
        metrics=CheckpointMetrics(
            step=checkpoint.step, train_loss=checkpoint.train_loss, full_valid_loss=checkpoint.validation_loss
        ),
        unroll=checkpoint,
    )


def _told(event: Event) -> tuple[Literal["info", "warn", "error"], str, dict[str, Any]]:
    """Level, sentence and data of an event."""
    said = event.data
    if event.type == "state":
        reason = said.get("reason")
        sentence = f"The job is {said['state']}" + (f": {reason}" if reason and reason != said["state"] else "")
        return "error" if said["state"] == JobState.FAILED else "info", sentence, {}
    if event.type == "metrics":
        losses = {"train_loss": said.get("train_loss"), "full_valid_loss": said.get("validation_loss")}
        told = {name: loss for name, loss in losses.items() if loss is not None}
        sentence = ", ".join((f"Step {said['step']}", *(f"{name} {loss:.4f}" for name, loss in told.items())))
        return "info", sentence, {"step": said["step"]} | told
    if event.type == "checkpoint":
        return "info", f"Checkpoint at step {said['step']}: {said['model']}", {}
    levels: dict[str, Literal["warn", "error"]] = {"warning": "warn", "error": "error"}
    return levels.get(said.get("level", ""), "info"), str(said.get("text", "")), {}
