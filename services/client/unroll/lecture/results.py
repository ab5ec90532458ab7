"""What the lecture's experiments found, as values that go into results.json. Knows no plot and no server."""

import math
import statistics
from typing import Literal

from pydantic import BaseModel, ConfigDict

Cell = Literal["rnn", "lstm", "gru"]
CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")
# Of a whole run that always answers the mean of the adding problem: the standard deviation of a sum of two uniforms.
ADDING_TRIVIAL = math.sqrt(1 / 6)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Plan(_Part):
    """How much is run. Updates are optimizer steps, seeds 0, 1, ...; searches go outwards up to `widenings` times."""

    seeds: int
    widenings: int = 2
    adding_steps: int = 100
    adding_sequences: int = 18_000
    adding_updates: int = 3000
    adding_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)
    adding_windows: tuple[int, ...] = (10, 40)
    text_updates: int = 1500
    text_rates: tuple[float, ...] = (2e-3, 4e-3, 8e-3, 1.6e-2)
    text_windows: tuple[int, ...] = (2, 8, 32)


FULL = Plan(seeds=5)
QUICK = Plan(
    seeds=2,
    widenings=0,
    adding_sequences=6_000,
    adding_updates=1000,
    adding_rates=(1e-2,),
    adding_windows=(20,),
    text_updates=300,
    text_rates=(4e-3, 8e-3),
    text_windows=(4, 16),
)


class Row(_Part):
    """One setting over its seeds; a value is None where the run diverged."""

    label: str
    cell: Cell
    hidden_size: int
    parameters: int
    learning_rate: float
    tbptt_steps: int | None
    values: list[float | None]
    seconds: float
    jobs: list[str]

    @property
    def finite(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float:
        """NaN where every run diverged."""
        return statistics.mean(self.finite) if self.finite else math.nan

    @property
    def deviation(self) -> float:
        """Of the sample; 0 for a single run."""
        return statistics.stdev(self.finite) if len(self.finite) > 1 else 0.0


class Curve(_Part):
    """A score against the optimizer step, one list a seed."""

    label: str
    cell: Cell
    steps: list[list[int]]
    values: list[list[float]]


class LagGradient(_Part):
    """Geometric mean, over models and inputs, of |d answer / d state| at each lag; `state` is hidden or cell."""

    label: str
    cell: Cell
    state: Literal["hidden", "cell"]
    norms: list[float]

    def reach(self, share: float) -> int | None:
        """The first lag at which less than `share` of the largest norm is left; None: more is left at every lag."""
        floor = share * max(self.norms)
        return next((lag for lag, norm in enumerate(self.norms) if norm < floor), None)


class Comparison(_Part):
    """RNN, LSTM and GRU of equal size on one task: each with the learning rate that was best for it, at every seed."""

    score: str
    searched: dict[Cell, dict[str, float | None]]
    rows: list[Row]
    gru_with_lstm_rate: Row
    truncated: list[Row]
    curves: list[Curve]
    before: list[LagGradient]
    after: list[LagGradient]
    after_truncated: list[LagGradient]

    def is_at_edge(self, row: Row) -> bool:
        """Whether the search did not go beyond the rate that was best."""
        tried = sorted(float(rate) for rate in self.searched[row.cell])
        return len(tried) > 1 and row.learning_rate in (tried[0], tried[-1])

    def row(self, cell: Cell) -> Row:
        return next(row for row in self.rows if row.cell == cell)


class HelloStep(_Part):
    """One step of the walk: one-hot x, the two products, the new state, the read-out, its softmax."""

    symbol: str
    x: list[float]
    from_input: list[float]
    from_state: list[float]
    h: list[float]
    y: list[float]
    p: list[float]
    target: str


class Hello(_Part):
    """A network of three units that read "hello", by NumPy from its exported weights, beside what the server says."""

    alphabet: list[str]
    w_xh: list[list[float]]
    w_hh: list[list[float]]
    w_hy: list[list[float]]
    bias_h: list[float]
    bias_y: list[float]
    steps: list[HelloStep]
    written: str
    largest_difference: float
    job: str


class Text(_Part):
    """The text that was read."""

    name: str
    characters: int
    vocabulary: int


class Results(_Part):
    """All of it; `seconds` is what the jobs took on their workers, in all."""

    server: str
    created_at: float
    jobs: int
    seconds: float
    plan: Plan
    text: Text
    hello: Hello
    adding: Comparison
    language: Comparison
