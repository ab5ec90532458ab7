"""What a client may ask for: JobSpec and its parts. The one definition, from HTTP body to training loop.

Torch-free. A default stands here and nowhere else; `JobSpec()` with a data set and nothing more trains well.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from rnncore.errors import ShapeMismatch

Cell = Literal["rnn", "lstm", "gru"]
Task = Literal["language_model", "tag", "classify", "forecast", "regress", "generate", "translate"]
Precision = Literal["auto", "fp32", "bf16-mixed"]

DEFAULT_MAX_STEPS = 5_000

DatasetId = Annotated[str, StringConstraints(pattern=r"^ds-[0-9a-f]{32}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^job-[0-9a-f]{16}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ModelId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Prompt = Annotated[str, StringConstraints(max_length=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(_Part):
    """The network: embedding -> `num_layers` recurrent layers of `hidden_size` units -> logits over the vocabulary."""

    cell: Cell = Field(default="lstm", description="Recurrent cell: rnn (tanh), lstm or gru.")
    hidden_size: int = Field(default=256, ge=1, le=4096, description="Units of each recurrent layer.")
    num_layers: int = Field(default=1, ge=1, le=8, description="Stacked recurrent layers.")
    embedding_size: int = Field(
        default=128, ge=1, le=4096, description="Length of the vector that stands for one symbol."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout between layers and before the output layer.")
    bidirectional: bool = Field(
        default=False, description="Read every sequence backwards too; for tasks that see the whole of it first."
    )
    forget_bias: float | None = Field(
        default=None,
        ge=-20,
        le=20,
        description="Initial bias of the LSTM forget gate. null: 0 for language_model, 1 for all other tasks.",
    )
    tie_weights: bool = Field(
        default=False, description="Share the embedding with the output layer (sizes must be equal)."
    )
    reset_after: bool = Field(
        default=True,
        description="Of a gru. true: the reset gate r scales the recurrent product, n = tanh(W x + b + r*(U h + b')), "
        "as PyTorch and cuDNN do. false: it scales the state before it, n = tanh(W x + b + U (r*h) + b'), as Cho 2014 "
        "and char-rnn do. In both the update gate z weighs the old state: h' = (1-z)*n + z*h.",
    )
    unknown: bool = Field(
        default=False,
        description="Map symbols outside the training part to one unknown symbol instead of refusing them.",
    )

    @model_validator(mode="after")
    def _only_a_gru_resets(self) -> Self:
        if not self.reset_after and self.cell != "gru":
            raise ValueError(f"reset_after=false is for cell=gru alone, cell is {self.cell}; leave it out")
        return self

    @model_validator(mode="after")
    def _tied_sizes_agree(self) -> Self:
        if self.tie_weights and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"tie_weights needs embedding_size == hidden_size, got {self.embedding_size} and {self.hidden_size}; "
                f"set embedding_size to {self.hidden_size} or tie_weights to false"
            )
        return self


class TrainSpec(_Part):
    """Truncated back-propagation through time over contiguous streams, AdamW, one cosine after a warm-up."""

    batch_size: int = Field(default=32, ge=1, le=4096, description="Parallel streams of the whole job.")
    tbptt_steps: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Steps that gradients flow back through at most; of a language_model and a forecast also the "
        "length of a window. null: 64 for language_model, 32 for forecast, the whole of each sequence for other tasks.",
    )
    tbptt_stride: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="New symbols an update of a language_model; at most tbptt_steps. null: as many as tbptt_steps.",
    )
    max_steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description=f"Optimizer steps. {DEFAULT_MAX_STEPS} where no limit at all is named.",
    )
    max_epochs: int | None = Field(default=None, ge=1, le=100_000, description="Passes over the training part.")
    max_seconds: float | None = Field(
        default=None, gt=0, le=30 * 86_400, description="Seconds spent in training steps alone; survives a resume."
    )
    learning_rate: float = Field(default=4e-3, gt=0, le=10, description="Peak learning rate of AdamW.")
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="Learning rate after the warm-up.")
    warmup_steps: int = Field(default=100, ge=0, le=1_000_000, description="Steps of linear warm-up.")
    weight_decay: float = Field(default=0.01, ge=0, le=10, description="AdamW's decoupled weight decay.")
    gradient_clip_norm: float | None = Field(
        default=1.0, gt=0, le=1e6, description="Largest global gradient norm (not per element); null: no clipping."
    )
    precision: Precision = Field(
        default="auto",
        description="bf16-mixed: bf16 products, fp32 weights; fp32 where the hardware lacks it. auto: what is faster.",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Seed of initial weights and dropout.")
    validation_fraction: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="The tail of the text that is validated on, where no validation_dataset is named.",
    )
    validate_every_steps: int = Field(
        default=500, ge=1, le=10_000_000, description="Optimizer steps between validations."
    )
    checkpoint_every_steps: int = Field(
        default=500,
        ge=1,
        le=10_000_000,
        description="Optimizer steps between checkpoints; a validation better than all before makes one too.",
    )
    keep_checkpoints: int = Field(
        default=10, ge=1, le=1000, description="Newest checkpoints kept besides the best; older ones are deleted."
    )
    early_stop_patience: int | None = Field(
        default=None, ge=1, le=10_000, description="Validations without improvement before the job ends; null: never."
    )
    sample_prompts: tuple[Prompt, ...] = Field(
        default=(),
        max_length=4,
        description="Prompts continued at each checkpoint; empty: one from the validation part.",
    )

    @model_validator(mode="after")
    def _some_limit_ends_the_job(self) -> Self:
        if self.max_steps is None and self.max_epochs is None and self.max_seconds is None:
            object.__setattr__(self, "max_steps", DEFAULT_MAX_STEPS)  # the value is still being built
        return self


class ResourcesSpec(_Part):
    """What a job runs on."""

    num_workers: int = Field(default=1, ge=1, le=256, description="Workers that train the job together.")
    min_workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Fewest workers to start with where not all are free; null: all of them.",
    )
    gpus_per_worker: float | None = Field(
        default=None,
        ge=0,
        le=1,
        multiple_of=0.25,
        description="1: waits for a GPU. 0.25, 0.5, 0.75: for that share of one and its memory. 0: keeps off GPUs. "
        "null: a GPU where one is free.",
    )

    @property
    def needs(self) -> Literal["any", "cpu", "gpu"]:
        """The kind of seat that every worker of the job has to have."""
        return "any" if self.gpus_per_worker is None else "gpu" if self.gpus_per_worker else "cpu"

    @property
    def gpu_quarters(self) -> int:
        """What each worker takes of a GPU where it runs on one."""
        return round(4 * (self.gpus_per_worker or 1))

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(
                f"resources.min_workers of {self.min_workers} is over resources.num_workers of {self.num_workers}; "
                "lower min_workers or raise num_workers"
            )
        if self.num_workers > 1 and self.gpu_quarters < 4:
            raise ValueError(
                f"resources.gpus_per_worker is {self.gpus_per_worker} with num_workers {self.num_workers}: workers "
                "that train together need a GPU each; set it to 1 or 0, or num_workers to 1"
            )
        return self


class JobSpec(_Part):
    """One training job, as asked for. Never changes after submission; what happens to it is the JobRecord's."""

    task: Task = Field(default="language_model", description="What the network learns.")
    dataset: DatasetId = Field(description="Data set to train on.")
    validation_dataset: DatasetId | None = Field(
        default=None, description="Data set to validate on instead of the tail."
    )
    name: Name | None = Field(default=None, description="A name for people.")
    init_from: ModelId | None = Field(
        default=None, description="Model whose weights and vocabulary to start from; the model section must fit it."
    )
    verify_of: JobId | None = Field(
        default=None, description="Job that succeeded, to be run again step by step; all else must be as it was there."
    )
    retry_of: JobId | None = Field(
        default=None, description="Job that has ended, whose last checkpoint this one goes on from."
    )
    model: ModelSpec = Field(default_factory=ModelSpec)
    train: TrainSpec = Field(default_factory=TrainSpec)
    resources: ResourcesSpec = Field(default_factory=ResourcesSpec)
    priority: int = Field(default=5, ge=0, le=9, description="9 runs first.")
    timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        le=365 * 86_400,
        description="Seconds after its first start, waiting included, when the job fails; null: never.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=20,
        description="Failures of the job itself, with no checkpoint further on between, before it is failed for good.",
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict, max_length=16, description="Up to 16 pairs to find the job by."
    )

    @model_validator(mode="after")
    def _defaults_of_the_task(self) -> Self:
        """Fills in what depends on the task, so that the record says what was trained."""
        if self.model.forget_bias is None:
            forget_bias = 0.0 if self.task == "language_model" else 1.0
            _fill(self, "model", forget_bias=forget_bias)
        if self.train.tbptt_steps is None:
            _fill(self, "train", tbptt_steps=_TBPTT_STEPS.get(self.task))
        if self.task == "language_model" and self.train.tbptt_stride is None:
            _fill(self, "train", tbptt_stride=self.train.tbptt_steps)
        return self

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        stride, steps = self.train.tbptt_stride, self.train.tbptt_steps
        if stride is not None and self.task != "language_model":
            raise ValueError(f"train.tbptt_stride is for language_model alone, task is {self.task}; leave it out")
        if stride is not None and steps is not None and stride > steps:
            raise ValueError(
                f"train.tbptt_stride of {stride} is over train.tbptt_steps of {steps}: symbols between windows would "
                "never be learnt; lower tbptt_stride or raise tbptt_steps"
            )
        if self.model.bidirectional and self.task in ("language_model", "generate"):
            raise ValueError(
                f"model.bidirectional would let a {self.task} read the symbol that it has to predict; leave it out"
            )
        if self.model.bidirectional and steps is not None and self.task != "forecast":
            raise ValueError(
                "train.tbptt_steps cannot cut a gradient that also flows from the end; "
                "leave out train.tbptt_steps or model.bidirectional"
            )
        if self.model.tie_weights and self.task != "language_model":
            raise ValueError(f"model.tie_weights is for language_model alone, task is {self.task}; leave it out")
        return self

    @property
    def worker_counts(self) -> list[int]:
        """Numbers of workers the job can be trained by, largest first; each has as many streams as the others."""
        most = self.resources.num_workers
        least = self.resources.min_workers or most
        return [number for number in range(most, least - 1, -1) if self.train.batch_size % number == 0]


_TBPTT_STEPS: dict[str, int] = {"language_model": 64, "forecast": 32}

_SHAPE = (
    "cell",
    "hidden_size",
    "num_layers",
    "embedding_size",
    "bidirectional",
    "reset_after",
    "tie_weights",
    "unknown",
)


def starting_from(spec: JobSpec, task: Task, initial: ModelSpec, source: str) -> JobSpec:
    """`spec` with the model fields that it does not name taken from the model it starts from, one of `task`.

    Raises ShapeMismatch for a field that it does name otherwise, and for another task.
    """
    if spec.task != task:
        raise ShapeMismatch(f"task is {spec.task}, but init_from={source} is a {task}", param="init_from")
    for field in _SHAPE:
        ours, theirs = getattr(spec.model, field), getattr(initial, field)
        if field in spec.model.model_fields_set and ours != theirs:
            raise ShapeMismatch(
                f"model.{field} is {ours}, but init_from={source} has {theirs}; leave it out or set it to {theirs}",
                param=f"model.{field}",
            )
    shape = {field: getattr(initial, field) for field in _SHAPE}
    return spec.model_copy(update={"model": spec.model.model_copy(update=shape), "init_from": source})


def _fill(spec: JobSpec, section: str, **fields: Any) -> None:
    """Without naming them: `model_dump(exclude_unset=True)` remains what was asked for."""
    part: _Part = getattr(spec, section)
    filled = part.model_copy(update=fields)
    object.__setattr__(filled, "__pydantic_fields_set__", part.model_fields_set)
    # Assigned in this way because the value, frozen from now on, is still being built.
    object.__setattr__(spec, section, filled)
