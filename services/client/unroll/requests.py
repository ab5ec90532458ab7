"""What a request may hold. Written by `make reference` from the OpenAPI document; change it there.

No field is needed for these types' sake: the server fills in its defaults, and says what it cannot do without.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict


class ModelSpec(TypedDict, total=False):
    """The network: embedding -> `num_layers` recurrent layers of `hidden_size` units -> logits over the vocabulary."""

    cell: Literal["rnn", "lstm", "gru"]
    hidden_size: int
    num_layers: int
    embedding_size: int
    dropout: float
    bidirectional: bool
    forget_bias: float | None
    tie_weights: bool
    reset_after: bool
    unknown: bool


class TrainSpec(TypedDict, total=False):
    """Truncated back-propagation through time over contiguous streams, AdamW, one cosine after a warm-up."""

    batch_size: int
    tbptt_steps: int | None
    tbptt_stride: int | None
    max_steps: int | None
    max_epochs: int | None
    max_seconds: float | None
    learning_rate: float
    schedule: Literal["cosine", "constant"]
    warmup_steps: int
    weight_decay: float
    gradient_clip_norm: float | None
    precision: Literal["auto", "fp32", "bf16-mixed"]
    seed: int
    validation_fraction: float
    validate_every_steps: int
    checkpoint_every_steps: int
    keep_checkpoints: int
    early_stop_patience: int | None
    sample_prompts: Sequence[str]


class ResourcesSpec(TypedDict, total=False):
    """What a job runs on."""

    num_workers: int
    min_workers: int | None
    gpus_per_worker: float | None


class JobFields(TypedDict, total=False):
    """One training job, as asked for."""

    task: Literal["language_model", "tag", "classify", "forecast", "regress", "generate", "translate"]
    dataset: str
    validation_dataset: str | None
    name: str | None
    init_from: str | None
    verify_of: str | None
    retry_of: str | None
    model: ModelSpec
    train: TrainSpec
    resources: ResourcesSpec
    priority: int
    timeout_seconds: float | None
    max_attempts: int
    metadata: Mapping[str, str]


class Range(TypedDict, total=False):
    """Every number between two, both included; whole numbers where the field is one."""

    min: float
    max: float
    log: bool
    step: float | None


class Choices(TypedDict, total=False):
    """One of these values."""

    values: Sequence[bool | int | float | str | None]


class SearchSpec(TypedDict, total=False):
    """How the next point is found."""

    method: Literal["grid", "random", "tpe"]
    seed: int


class ObjectiveSpec(TypedDict, total=False):
    """What is to be made small, or large: a score of each trial's best checkpoint."""

    metric: Literal["validation_loss", "accuracy", "sequence_accuracy", "rmse", "sequence_error_rate"]
    goal: Literal["minimize", "maximize"] | None


class SweepBudget(TypedDict, total=False):
    """What ends the search; the first one reached."""

    max_trials: int | None
    max_worker_seconds: float | None
    max_seconds: float | None


class SuccessiveHalving(TypedDict, total=False):
    """Stops the worse trials early, without waiting for all others (ASHA, Li 2020)."""

    method: Literal["successive_halving"]
    min_steps: int
    factor: int


class SweepFields(TypedDict, total=False):
    """Many jobs that differ in a few fields, to find the values that train best."""

    name: str | None
    spec: JobFields
    parameters: Mapping[str, Range | Choices]
    search: SearchSpec
    objective: ObjectiveSpec
    budget: SweepBudget
    max_parallel: int | None
    replicates: int
    early_stopping: SuccessiveHalving | None
    fuse: Literal["auto", "never"]
    promote_to: str | None
    metadata: Mapping[str, str]


class StreamOptions(TypedDict, total=False):
    """What a stream tells besides text."""

    include_usage: bool


class CompletionOptions(TypedDict, total=False):
    """A text to continue."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int | None
    n: int
    best_of: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    logprobs: int | None
    echo: bool
    logit_bias: Mapping[str, float] | None
    presence_penalty: float
    frequency_penalty: float
    stream_options: StreamOptions | None
    state: bool | str | None
    user: str | None


class PredictOptions(TypedDict, total=False):
    """Inputs to answer with a model of any task but language_model."""

    beam_width: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int | None
    seed: int | None


class UnitId(TypedDict, total=False):
    """One unit of one layer, both counted from 0."""

    layer: int
    unit: int


class InspectOptions(TypedDict, total=False):
    """An input to look at from inside a model."""

    top: int
    num_units: int
    units: Sequence[UnitId]
    lags: int
    window: int


class KeyFields(TypedDict, total=False):
    """What a new key may do."""

    name: str | None
    tenant: str | None
    scopes: Sequence[Literal["read", "train", "sample", "admin"]]
    expires_at: float | None
    requests_per_minute: int | None


class TenantFields(TypedDict, total=False):
    """What a tenant may take."""

    weight: float
    max_running: int | None
    max_gpus: int | None
    max_queued: int | None
    max_storage_bytes: int | None
