"""A job and all that it leaves behind, as the server answers it."""

from typing import Any, Literal

from pydantic import Field, field_validator

from unroll.types.answer import TERMINAL_STATES, Answer


class Progress(Answer):
    """Where a job stands. `ratio` is the share of its budget used."""

    step: int = 0
    characters: int = 0
    ratio: float = 0.0
    eta_seconds: float | None = None
    characters_per_second: float | None = None


class Scores(Answer):
    """Losses in nats per symbol at `step`."""

    step: int
    train_loss: float | None = None
    validation_loss: float | None = None
    bits_per_character: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class QueuePlace(Answer):
    """Why a queued job waits; position 1 is next."""

    position: int | None = None
    reason: str | None = None
    blocked_by: list[str] = Field(default_factory=list)
    eta_seconds: float | None = None


class JobError(Answer):
    """Why a job failed."""

    type: str
    message: str
    hint: str | None = None
    log_tail: str = ""


class JobSpec(Answer):
    """What was asked for, with every default resolved by the server; empty where its record was altered."""

    task: str = "language_model"
    dataset: str = ""
    validation_dataset: str | None = None
    name: str | None = None
    init_from: str | None = None
    retry_of: str | None = None
    verify_of: str | None = None
    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    resources: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = None
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class JobRecord(Answer):
    """One job: what was asked for (`spec`) and what happened to it. Times in Unix seconds."""

    id: str
    object: str = "job"
    state: str
    spec: JobSpec
    tenant: str | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    attempt: int = 0
    epoch: int = 0
    progress: Progress = Progress()
    last: Scores | None = None
    best: Scores | None = None
    primary_metric: str = "validation_loss"
    queue: QueuePlace | None = None
    error: JobError | None = None
    warnings: list[str] = Field(default_factory=list)
    placement: dict[str, Any] | None = None
    parameters_sha256: str | None = None
    cancel_requested: bool = False
    trial: dict[str, Any] | None = None

    @field_validator("spec", mode="before")
    @classmethod
    def _unreadable(cls, spec: Any) -> Any:
        return {} if spec is None else spec

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL_STATES


class Metrics(Answer):
    """One row of a job's history. Losses in nats per symbol."""

    epoch: int = 0
    step: int
    characters: int = 0
    train_loss: float | None = None
    gradient_norm: float | None = None
    learning_rate: float | None = None
    characters_per_second: float | None = None
    training_seconds: float | None = None
    ratio: float | None = None
    eta_seconds: float | None = None
    validation_loss: float | None = None
    bits_per_character: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class Checkpoint(Answer):
    """One published checkpoint; `model` is the name it answers under."""

    object: str = "checkpoint"
    model: str
    job: str
    step: int
    epoch: int = 0
    created_at: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    bits_per_character: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    num_bytes: int = 0
    parameters_sha256: str | None = None
    is_best: bool = False
    is_latest: bool = False


class CheckpointSamples(Answer):
    """What a job wrote at one checkpoint: `prompt` and `text` of each."""

    object: str = "checkpoint.samples"
    step: int
    epoch: int = 0
    bits_per_character: float | None = None
    samples: list[dict[str, Any]] = Field(default_factory=list)


class Event(Answer):
    """One thing that happened to a job: state, metrics, checkpoint or message. `data` depends on `type`."""

    id: str
    object: Literal["event"] = "event"
    type: str
    created_at: float
    data: dict[str, Any] = Field(default_factory=dict)
