"""A fine-tuning job as OpenAI's clients ask for it, and the JobSpec that it means."""

from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rnncore.errors import InvalidInput
from rnncore.spec import Cell, DatasetId, JobSpec, MetadataKey, MetadataValue, ModelId, Name, TrainSpec

# What a learning_rate_multiplier of 1 stands for.
LEARNING_RATE: float = TrainSpec.model_fields["learning_rate"].default

_Auto = Literal["auto"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hyperparameters(_Part):
    """OpenAI's three; `auto` leaves the default. All that they do not say stands in `method.rnn`."""

    n_epochs: _Auto | int = Field("auto", description="train.max_epochs")
    batch_size: _Auto | int = Field("auto", description="train.batch_size")
    learning_rate_multiplier: _Auto | float = Field(
        "auto", description=f"train.learning_rate becomes this times its default of {LEARNING_RATE}."
    )


class Supervised(_Part):
    """OpenAI's newer place for hyperparameters."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(_Part):
    """How to train."""

    type: Literal["rnn", "supervised"]
    rnn: dict[str, Any] | None = Field(None, description="Fields of JobSpec: task, model, train, priority and so on.")
    supervised: Supervised | None = None

    @model_validator(mode="after")
    def _is_of_its_type(self) -> Self:
        other = "supervised" if self.type == "rnn" else "rnn"
        if getattr(self, other) is not None:
            raise ValueError(f"type is {self.type!r}: leave out {other!r}, or make it the type")
        return self


class _Wish(NamedTuple):
    """A field of a JobSpec, what it is to be, and where that was said."""

    field: str
    value: Any
    place: str


class FineTuningRequest(_Part):
    """A job to queue. No two places may say different things of one field."""

    model: ModelId = Field(
        description="rnn, lstm or gru: the cell of a new network; or a model of yours to start from."
    )
    training_file: DatasetId
    validation_file: DatasetId | None = None
    suffix: Name | None = Field(None, description="A name for people.")
    seed: int | None = Field(None, description="train.seed")
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = Field(None, description="There are none here.")

    def spec(self) -> JobSpec:
        """The job that is meant. Raises InvalidInput or RequestValidationError naming the field as it stands here."""
        # Copied as deep as wishes reach and no deeper, for a stranger may have nested it as deep as JSON goes.
        given = (self.method.rnn or {}) if self.method else {}
        fields = {name: dict(value) if isinstance(value, dict) else value for name, value in given.items()}
        for wish in self._wishes():
            _grant(fields, wish)
        try:
            return JobSpec.model_validate(fields)
        except ValidationError as error:
            faults = [fault | {"loc": (self.place(".".join(map(str, fault["loc"]))),)} for fault in error.errors()]
            raise RequestValidationError(faults) from error

    def place(self, param: str) -> str:
        """Where a field of the JobSpec, or what is no field of it, was asked for."""
        said = {wish.field: wish.place for wish in self._wishes()}
        return said.get(param) or ".".join(filter(None, ("method.rnn", param)))

    def _wishes(self) -> list[_Wish]:
        wishes = [
            _Wish("model.cell" if self.model in get_args(Cell) else "init_from", self.model, "model"),
            _Wish("dataset", self.training_file, "training_file"),
            _Wish("validation_dataset", self.validation_file, "validation_file"),
            _Wish("name", self.suffix, "suffix"),
            _Wish("metadata", self.metadata, "metadata"),
            _Wish("train.seed", self.seed, "seed"),
        ]
        if self.hyperparameters:
            wishes += _of_hyperparameters(self.hyperparameters, "hyperparameters")
        if self.method and self.method.supervised:
            wishes += _of_hyperparameters(self.method.supervised.hyperparameters, "method.supervised.hyperparameters")
        return [wish for wish in wishes if wish.value is not None]


def _of_hyperparameters(given: Hyperparameters, place: str) -> list[_Wish]:
    epochs, batch, multiplier = (
        None if value == "auto" else value
        for value in (given.n_epochs, given.batch_size, given.learning_rate_multiplier)
    )
    rate = None if multiplier is None else LEARNING_RATE * multiplier
    return [
        _Wish("train.max_epochs", epochs, f"{place}.n_epochs"),
        _Wish("train.batch_size", batch, f"{place}.batch_size"),
        _Wish("train.learning_rate", rate, f"{place}.learning_rate_multiplier"),
    ]


def _grant(fields: dict[str, Any], wish: _Wish) -> None:
    """Puts a wish where JobSpec has it. Raises InvalidInput where something else stands there."""
    section, _, name = wish.field.rpartition(".")
    inside = fields.setdefault(section, {}) if section else fields
    if not isinstance(inside, dict):  # JobSpec will say so
        return
    if inside.setdefault(name, wish.value) != wish.value:
        raise InvalidInput(
            f"{wish.place} makes {wish.field} {wish.value!r:.100}, another place {inside[name]!r:.100}; say it once",
            param=wish.place,
        )
