"""What the server answers, as values. Knows no HTTP; unknown fields are kept, so that a newer server does no harm."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

TERMINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class Progress(_Answer):
    """Where a job stands. `ratio` is the share of its budget used."""

    step: int = 0
    characters: int = 0
    ratio: float = 0.0
    eta_seconds: float | None = None
    characters_per_second: float | None = None


class Scores(_Answer):
    """Losses in nats per symbol at `step`."""

    step: int
    train_loss: float | None = None
    validation_loss: float | None = None
    bits_per_character: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class QueuePlace(_Answer):
    """Why a queued job waits; position 1 is next."""

    position: int | None = None
    reason: str | None = None
    blocked_by: list[str] = Field(default_factory=list)
    eta_seconds: float | None = None


class JobError(_Answer):
    """Why a job failed."""

    type: str
    message: str
    hint: str | None = None
    log_tail: str = ""


class JobSpec(_Answer):
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


class JobRecord(_Answer):
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


class Sweep(_Answer):
    """One sweep: what was asked for (`spec`) and how it stands. Times in Unix seconds."""

    id: str
    object: str = "sweep"
    state: str
    spec: dict[str, Any] | None = None
    tenant: str | None = None
    created_at: float
    finished_at: float | None = None
    num_trials: int = 0
    cancel_requested: bool = False
    error: str | None = None
    warning: str | None = None

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL_STATES


class Trial(_Answer):
    """One trial of a sweep: the values it tried, and what became of its job."""

    object: str = "trial"
    number: int
    point: int = 0
    parameters: dict[str, Any] = Field(default_factory=dict)
    job: str | None = None
    state: str
    value: float | None = None
    step: int = 0
    rungs: list[float] = Field(default_factory=list)
    stopped_early: str | None = None
    worker_seconds: float = 0.0
    error: JobError | None = None


class Point(_Answer):
    """Values that some trials of a sweep share, and how these did."""

    point: int
    parameters: dict[str, Any] = Field(default_factory=dict)
    trials: list[int] = Field(default_factory=list)
    mean: float | None = None
    spread: float | None = None


class SweepReport(Sweep):
    """A sweep and what came of it so far: trials by state, the best one, points with mean and spread, best first."""

    trials: dict[str, int] = Field(default_factory=dict)
    num_stopped_early: int = 0
    worker_seconds: float = 0.0
    best: Trial | None = None
    points: list[Point] = Field(default_factory=list)


class ApiKey(_Answer):
    """What an API key may do. `key` is its text, answered once, when it is made."""

    id: str
    object: str = "key"
    tenant: str
    name: str | None = None
    scopes: list[str] = Field(default_factory=list)
    created_at: float
    expires_at: float | None = None
    requests_per_minute: int | None = None
    key: str | None = None


class Tenant(_Answer):
    """What a tenant may take (null: any number), and what it has now."""

    id: str
    object: str = "tenant"
    weight: float = 1.0
    max_running: int | None = None
    max_gpus: int | None = None
    max_queued: int | None = None
    max_storage_bytes: int | None = None
    running: int = 0
    gpus: float = 0
    queued: int = 0
    stored_bytes: int = 0


class Worker(_Answer):
    """Room for one trainer, and who is there: jobs of the key's tenant by id, those of others as a number."""

    id: str
    object: str = "worker"
    node: str
    host: str
    kind: str
    threads: int
    memory_bytes: int = 0
    state: str
    is_drained: bool = False
    jobs: list[dict[str, Any]] = Field(default_factory=list)
    num_jobs: int = 0
    utilisation: float = 0.0


class JobInLine(_Answer):
    """An unfinished job as far as the line is concerned."""

    id: str
    object: str = "job_in_line"
    tenant: str
    name: str | None = None
    state: str
    priority: int
    num_workers: int = 1
    created_at: float
    started_at: float | None = None
    progress: Progress = Progress()
    queue: QueuePlace | None = None
    placement: dict[str, Any] | None = None


class Line(_Answer):
    """Unfinished jobs: the next to start first, then those that run, then those that were set aside."""

    object: str = "queue"
    waiting: list[JobInLine] = Field(default_factory=list)
    running: list[JobInLine] = Field(default_factory=list)
    paused: list[JobInLine] = Field(default_factory=list)
    num_waiting: int = 0
    num_running: int = 0


class Webhook(_Answer):
    """A URL that is posted to when a job ends. `secret` checks the signature; answered once, when it is made."""

    id: str
    object: str = "webhook"
    url: str
    created_at: float
    secret: str | None = None


class Amounts(_Answer):
    """What was used in some time."""

    characters_trained: int = 0
    training_steps: int = 0
    worker_seconds: float = 0.0
    tokens_sampled: int = 0


class DayUsage(Amounts):
    """What was used on one day, UTC."""

    date: dt.date


class Usage(_Answer):
    """What a tenant used from `start` to `end`, both included; days without any are left out."""

    object: str = "usage"
    tenant: str
    start: dt.date
    end: dt.date
    stored_bytes: int = 0
    total: Amounts
    days: list[DayUsage] = Field(default_factory=list)


class Metrics(_Answer):
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


class Checkpoint(_Answer):
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


class CheckpointSamples(_Answer):
    """What a job wrote at one checkpoint: `prompt` and `text` of each."""

    object: str = "checkpoint.samples"
    step: int
    epoch: int = 0
    bits_per_character: float | None = None
    samples: list[dict[str, Any]] = Field(default_factory=list)


class Dataset(_Answer):
    """One uploaded data set. `uses` counts the unfinished jobs that read it."""

    id: str
    object: str = "dataset"
    kind: str = "text"
    name: str | None = None
    created_at: float
    num_bytes: int
    sha256: str
    summary: dict[str, Any] = Field(default_factory=dict)
    uses: int = 0


class Preview(_Answer):
    """The beginning of a data set's file."""

    text: str


class Event(_Answer):
    """One thing that happened to a job: state, metrics, checkpoint or message. `data` depends on `type`."""

    id: str
    object: Literal["event"] = "event"
    type: str
    created_at: float
    data: dict[str, Any] = Field(default_factory=dict)


class Model(_Answer):
    """A model that can be sampled: `<job>` (its best), `<job>:latest`, `<job>:step-800`, or an alias of one."""

    id: str
    object: str = "model"
    created: float | None = None
    owned_by: str | None = None
    alias_of: str | None = None
    job: str | None = None
    step: int | None = None
    validation_loss: float | None = None
    bits_per_character: float | None = None
    parameters_sha256: str | None = None


class LogProbs(_Answer):
    """Of each symbol: name, log-probability (None: nothing came before), the likeliest instead, place in the text."""

    tokens: list[str] = Field(default_factory=list)
    token_logprobs: list[float | None] = Field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] | None = None
    text_offset: list[int] = Field(default_factory=list)


class Choice(_Answer):
    """One text that a model wrote, or the next piece of it in a stream; `state` goes on from its end, if asked for."""

    index: int = 0
    text: str = ""
    logprobs: LogProbs | None = None
    finish_reason: str | None = None
    state: str | None = None


class Completion(_Answer):
    """OpenAI's completion object; in a stream, one chunk of it."""

    id: str
    object: str = "text_completion"
    created: float | None = None
    model: str | None = None
    choices: list[Choice] = Field(default_factory=list)
    usage: dict[str, Any] | None = None
    system_fingerprint: str | None = None


class Prediction(_Answer):
    """What a model answers to one input; the fields of other tasks are None."""

    index: int = 0
    label: str | None = None
    probabilities: dict[str, float] | None = None
    tags: list[str] | None = None
    values: list[float] | None = None
    sequences: list[dict[str, Any]] | None = None


class Predictions(_Answer):
    """One prediction for each input, in their order."""

    object: str = "list"
    model: str | None = None
    task: str | None = None
    data: list[Prediction] = Field(default_factory=list)
    system_fingerprint: str | None = None


class Inspection(_Answer):
    """One text or input seen from inside; parts that a task does not have are None or empty."""

    task: str
    tbptt_steps: int | None = None
    symbols: list[dict[str, Any]] = Field(default_factory=list)
    layers: list[dict[str, Any]] = Field(default_factory=list)
    units: list[dict[str, Any]] = Field(default_factory=list)
    gradient: dict[str, Any] | None = None
    window_loss: dict[str, Any] | None = None
    copying: dict[str, Any] | None = None


@dataclass(frozen=True)
class Readiness:
    """Whether the server takes work, and what it says about itself."""

    is_ready: bool
    detail: dict[str, Any]
