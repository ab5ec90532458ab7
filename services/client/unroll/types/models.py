"""Data sets, the models that came of them, and what these write, predict and show of themselves."""

from typing import Any

from pydantic import Field

from unroll.types.answer import Answer


class Dataset(Answer):
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


class Preview(Answer):
    """The beginning of a data set's file."""

    text: str


class Model(Answer):
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


class LogProbs(Answer):
    """Of each symbol: name, log-probability (None: nothing came before), the likeliest instead, place in the text."""

    tokens: list[str] = Field(default_factory=list)
    token_logprobs: list[float | None] = Field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] | None = None
    text_offset: list[int] = Field(default_factory=list)


class Choice(Answer):
    """One text that a model wrote, or the next piece of it in a stream; `state` goes on from its end, if asked for."""

    index: int = 0
    text: str = ""
    logprobs: LogProbs | None = None
    finish_reason: str | None = None
    state: str | None = None


class Completion(Answer):
    """OpenAI's completion object; in a stream, one chunk of it."""

    id: str
    object: str = "text_completion"
    created: float | None = None
    model: str | None = None
    choices: list[Choice] = Field(default_factory=list)
    usage: dict[str, Any] | None = None
    system_fingerprint: str | None = None


class Prediction(Answer):
    """What a model answers to one input; the fields of other tasks are None."""

    index: int = 0
    label: str | None = None
    probabilities: dict[str, float] | None = None
    tags: list[str] | None = None
    values: list[float] | None = None
    sequences: list[dict[str, Any]] | None = None


class Predictions(Answer):
    """One prediction for each input, in their order."""

    object: str = "list"
    model: str | None = None
    task: str | None = None
    data: list[Prediction] = Field(default_factory=list)
    system_fingerprint: str | None = None


class Inspection(Answer):
    """One text or input seen from inside; parts that a task does not have are None or empty."""

    task: str
    tbptt_steps: int | None = None
    symbols: list[dict[str, Any]] = Field(default_factory=list)
    layers: list[dict[str, Any]] = Field(default_factory=list)
    units: list[dict[str, Any]] = Field(default_factory=list)
    gradient: dict[str, Any] | None = None
    window_loss: dict[str, Any] | None = None
    copying: dict[str, Any] | None = None
