"""What the public process and the sampler say to one another, and what a client may ask of `/v1/completions`."""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

MAX_PROMPT_SYMBOLS = 100_000
MAX_TOKENS = 16_384
MAX_PROMPTS = 256
MAX_CHOICES = 16
MAX_STATE_CHARACTERS = 2_000_000
MAX_INPUTS = 256
MAX_INSPECTED = 4096


def _is_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"lone surrogate at offset {error.start} is not text; remove it") from error
    return text


Text = Annotated[str, StringConstraints(max_length=MAX_PROMPT_SYMBOLS), AfterValidator(_is_text)]
Step = float | list[float]
Token = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_is_text)]
PredictInput = Text | list[Token] | list[Step]
Bias = Annotated[float, Field(ge=-100, le=100)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_is_text)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(_Message):
    """What a stream tells besides text."""

    include_usage: bool = Field(False, description="A last chunk without choices that counts tokens.")


TokenId = Annotated[int, Field(ge=0, le=65_535)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_PROMPT_SYMBOLS)]


def _kind_of_prompt(prompt: object) -> str:
    first = prompt[0] if isinstance(prompt, list) and prompt else None
    return {int: "<ids>", str: "<texts>", list: "<lists of ids>"}.get(type(first), "<text>")


def _is_list(value: object) -> str:
    return "<list>" if isinstance(value, list) else "<one>"


def _is_wish(value: object) -> str:
    return "<wish>" if isinstance(value, bool) else "<handle>"


# The tags stand in angle brackets, which no field's name has: whoever tells where an error is leaves them out.
Prompt = Annotated[
    Annotated[Text, Tag("<text>")]
    | Annotated[TokenIds, Tag("<ids>")]
    | Annotated[list[Text], Field(max_length=MAX_PROMPTS), Tag("<texts>")]
    | Annotated[list[TokenIds], Field(max_length=MAX_PROMPTS), Tag("<lists of ids>")],
    Discriminator(_kind_of_prompt),
]
Stops = Annotated[
    Annotated[Stop, Tag("<one>")] | Annotated[list[Stop], Field(max_length=4), Tag("<list>")], Discriminator(_is_list)
]
State = Annotated[
    Annotated[bool, Tag("<wish>")]
    | Annotated[str, StringConstraints(max_length=MAX_STATE_CHARACTERS), Tag("<handle>")],
    Discriminator(_is_wish),
]


def fingerprint(parameters_sha256: str) -> str:
    """Says which parameters answered."""
    return f"fp_{parameters_sha256[:16]}"


class CompletionRequest(_Message):
    """A text to continue. A token is one symbol of the model's vocabulary."""

    model: str = Field(max_length=200, description="`<job>` (its best checkpoint), `<job>:latest` or `<job>:step-N`.")
    prompt: Prompt = Field(
        "", description="Text to continue, or ids of its symbols; a list of either. Empty: start as a text does."
    )
    max_tokens: int = Field(16, ge=0, le=MAX_TOKENS, description="Symbols to write at most.")
    temperature: float = Field(1.0, ge=0, le=10, description="0 takes the likeliest symbol each time.")
    top_p: float = Field(1.0, gt=0, le=1, description="Draw from the likeliest symbols of this mass alone.")
    top_k: int | None = Field(None, ge=1, le=100_000, description="Draw from this many likeliest symbols alone.")
    n: int = Field(1, ge=1, le=MAX_CHOICES, description="How many continuations of each prompt.")
    best_of: int | None = Field(
        None, ge=1, le=MAX_CHOICES, description="Write so many and answer the n of highest mean log-probability."
    )
    stop: Stops | None = Field(None, description="Ends the text where it would appear; not part of the text.")
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="The same seed writes the same text.")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="Log-probability of each symbol, and of so many likeliest in its place."
    )
    echo: bool = Field(False, description="Begin with the prompt; with logprobs, its symbols are scored too.")
    logit_bias: dict[Annotated[str, StringConstraints(pattern="^[0-9]{1,5}$")], Bias] | None = Field(
        None, max_length=1024, description="Symbol id -> what is added to its logit."
    )
    presence_penalty: float = Field(0.0, ge=-2, le=2, description="Taken from logits of symbols written before.")
    frequency_penalty: float = Field(0.0, ge=-2, le=2, description="The same, once for each time.")
    stream: bool = Field(False, description="Send server-sent events as the text is written.")
    stream_options: StreamOptions | None = None
    state: State | None = Field(
        None,
        description="true: each choice ends with a handle of where its text stands. A handle: go on from there, with "
        "`prompt` as what follows, and answer a new one.",
    )
    user: str | None = Field(None, max_length=512, description="Accepted for compatibility; not used.")

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, one or more."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt

    @model_validator(mode="after")
    def _choices_fit(self) -> Self:
        if self.best_of is not None and self.best_of < self.n:
            raise ValueError(f"best_of is {self.best_of}; it must be at least n, which is {self.n}")
        if self.best_of is not None and self.best_of > self.n and self.stream:
            raise ValueError("best_of cannot be streamed: which texts are best is known at their end; leave it out")
        if isinstance(self.state, str) and len(self.prompts) > 1:
            raise ValueError(f"a state is gone on from by one prompt; {len(self.prompts)} are given")
        rows, symbols = len(self.prompts) * (self.best_of or self.n), sum(map(len, self.prompts))
        if rows > MAX_PROMPTS:
            raise ValueError(f"{rows} texts are asked for (prompts x best_of); {MAX_PROMPTS} at most")
        if symbols > MAX_PROMPT_SYMBOLS:
            raise ValueError(f"the prompts have {symbols} symbols; {MAX_PROMPT_SYMBOLS} at most")
        return self


class PredictRequest(_Message):
    """Inputs to answer with a model of any task but language_model."""

    model: str = Field(max_length=200, description="`<job>` (its best checkpoint), `<job>:latest` or `<job>:step-N`.")
    inputs: list[PredictInput] = Field(
        min_length=1,
        max_length=MAX_INPUTS,
        description="As in a row of the data set: symbols (a string, or a list of strings) or numbers (a list, or a "
        "list of lists, one number a channel); a label for generate; the latest rows of the series for forecast.",
    )
    beam_width: int = Field(1, ge=1, le=16, description="Of translate: 1 is greedy; as many translations come back.")
    max_tokens: int = Field(100, ge=1, le=MAX_TOKENS, description="Of generate: symbols to write at most.")
    temperature: float = Field(1.0, ge=0, le=10, description="Of generate: 0 takes the likeliest symbol each time.")
    top_p: float = Field(1.0, gt=0, le=1, description="Of generate: draw from the likeliest of this mass alone.")
    top_k: int | None = Field(None, ge=1, le=100_000, description="Of generate: draw from so many likeliest alone.")
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="Of generate: the same seed writes the same text.")


class UnitId(_Message):
    """One unit of one layer, both counted from 0."""

    layer: int = Field(ge=0, le=63)
    unit: int = Field(ge=0, le=65_535)


class InspectRequest(_Message):
    """An input to look at from inside a model."""

    model: str = Field(max_length=200, description="`<job>` (its best checkpoint), `<job>:latest` or `<job>:step-N`.")
    input: PredictInput = Field(
        description=f"A text for language_model, else as in `/v1/predict`; 2 to {MAX_INSPECTED} symbols or steps."
    )
    top: int = Field(3, ge=0, le=20, description="Likeliest alternatives shown of each symbol.")
    num_units: int = Field(8, ge=0, le=64, description="Units shown, those first that follow the text most closely.")
    units: list[UnitId] = Field(default_factory=list, max_length=64, description="Show these units instead.")
    lags: int = Field(100, ge=1, le=1000, description="Steps back to which the gradient is followed.")
    window: int = Field(64, ge=1, le=1024, description="Symbols of a window of the loss by position.")


class InspectCommand(_Message):
    """The public process to the sampler: what to look at, and in which stored checkpoint."""

    request: InspectRequest
    checkpoint: str


class ExportCommand(_Message):
    """The same for a model to be taken away as an ONNX graph."""

    checkpoint: str


class SampleCommand(_Message):
    """The public process to the sampler: the request, whose it is, and which stored checkpoint answers it."""

    request: CompletionRequest
    checkpoint: str
    parameters: str
    tenant: str
    key: str


class PredictCommand(_Message):
    """The same for a prediction."""

    request: PredictRequest
    checkpoint: str
    fingerprint: str


class LogProbs(_Message):
    """Of each symbol of a text: its name, its log-probability (null: nothing came before), the likeliest, its place."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class Choice(_Message):
    """One continuation; `state` is there where the request asked for it."""

    text: str
    index: int
    logprobs: LogProbs | None = None
    finish_reason: Literal["stop", "length"] | None
    state: str | None = None


class Usage(_Message):
    """Symbols read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(_Message):
    """OpenAI's completion object; as a chunk of a stream, `finish_reason` is null until a choice ends."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    system_fingerprint: str
    usage: Usage | None = None


class WrittenSequence(_Message):
    """Symbols that a model wrote; `text` joins them. A translation's score is its symbols' mean log-probability."""

    symbols: list[str]
    text: str
    score: float | None


class PredictionAnswer(_Message):
    """What one input is answered with; the fields of other tasks are null."""

    index: int
    label: str | None = None
    probabilities: dict[str, float] | None = None
    tags: list[str] | None = None
    values: list[float] | None = None
    sequences: list[WrittenSequence] | None = None


class Predictions(_Message):
    """One prediction for each input, in their order."""

    object: Literal["list"] = "list"
    model: str
    task: str
    data: list[PredictionAnswer]
    system_fingerprint: str
