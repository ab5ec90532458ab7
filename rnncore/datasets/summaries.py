"""What is known of a data set from its upload on; from this alone a submission is checked. One class a kind of file."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rnncore.corpus import TextSummary
from rnncore.datasets.rows import RowKind
from rnncore.spec import Task

DatasetKind = Literal["text", "labelled", "tagged", "pairs", "series", "sequences"]

TASKS_OF_KIND: dict[DatasetKind, tuple[Task, ...]] = {
    "text": ("language_model",),
    "labelled": ("classify", "generate"),
    "tagged": ("tag",),
    "pairs": ("translate",),
    "series": ("forecast",),
    "sequences": ("regress",),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SymbolTable(_Part):
    """Distinct symbols, and the place in the split of the first row that has each; sorted by that place."""

    symbols: tuple[str, ...]
    ranks: tuple[int, ...]


class RowSummary(_Part):
    """Independent rows. Lengths are those of inputs, in steps; `targets` are labels, tags or target symbols."""

    kind: RowKind
    num_rows: int
    num_steps: int
    shortest: int
    longest: int
    longest_target: int = 1
    inputs: SymbolTable | None = None
    targets: SymbolTable | None = None
    num_channels: int = 0
    num_targets: int = 0


class SeriesSummary(_Part):
    """One long series: rows are time steps, columns its channels, one of them to be forecast."""

    kind: Literal["series"] = "series"
    num_rows: int
    columns: tuple[str, ...]
    target: str


Summary = Annotated[TextSummary | RowSummary | SeriesSummary, Field(discriminator="kind")]
