"""What one sees inside a trained network: the shapes of it. Made by `rnncore.probes`; torch-free.

T symbols or steps, H units, K lags. Losses and surprisals are in nats.
"""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from rnncore.spec import Task


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Alternative(_Part):
    """A symbol that might have come instead."""

    symbol: str
    probability: float


class SymbolView(_Part):
    """One symbol of the text. The first has no surprisal: nothing predicted it."""

    symbol: str
    surprisal: float | None = Field(description="-ln of the probability that the symbol had.")
    top: list[Alternative] = Field(description="The likeliest symbols at this place, the likeliest first.")


class Saturation(_Part):
    """Of one gate: the share of steps at which each unit was nearly closed and nearly open (Karpathy 2015)."""

    below: list[float] = Field(description="Share of steps below 0.1, a unit each.")
    above: list[float] = Field(description="Share of steps above 0.9, a unit each.")


class LayerView(_Part):
    """One layer. Gates are i, f, o of an LSTM, r, z of a GRU; an rnn has none."""

    gates: dict[str, Saturation]
    memory: list[float | None] = Field(
        description="Steps after which 1/e of a unit's content is left, by itself; null: it decays not at all."
    )


class UnitView(_Part):
    """What one unit did over the text: c of an LSTM, h of the others."""

    layer: int
    unit: int
    feature: str | None = Field(description="What of the text it follows most closely.")
    correlation: float | None = Field(description="Pearson's, with that feature.")
    values: list[float]
    gates: dict[str, list[float]]


class LayerGradient(_Part):
    """Norm of d answer_t / d h_(t-k) for k = 0..K, mean over the positions t; and of c for an LSTM."""

    hidden: list[float]
    cell: list[float] | None


class Gradient(_Part):
    """How far back a step's answer feels the state. `answer` says the derivative of what it is."""

    answer: str
    positions: list[int]
    layers: list[LayerGradient]


class WindowLoss(_Part):
    """Mean loss at each place of a window, read from the zero state and with the state carried into it."""

    windows: int
    fresh: list[float]
    carried: list[float]


class CopiedSample(_Part):
    """What a checkpoint wrote behind `prompt`, and where it is made of stretches of the training text."""

    prompt: str
    text: str
    passages: list[tuple[int, int]] = Field(
        description="Begin and end in `text` of what stretches of 12 symbols cover that stand in the training text, "
        "be it at several places."
    )


class Copying(_Part):
    """How much of the checkpoint's samples stands word for word in the training text."""

    searched: int = Field(description="Symbols of the training text that were looked through, from its beginning.")
    lengths: list[int] = Field(description="Of how many symbols a stretch is, for each share.")
    copied: list[float | None] = Field(description="Share of the samples' stretches that are found there.")
    held_out: list[float | None] = Field(description="The same of text that was not trained on, to compare with.")
    samples: list[CopiedSample]


class Inspection(_Part):
    """One text or input seen from inside. Parts that a task does not have are null or empty."""

    task: Task
    tbptt_steps: int | None = Field(None, description="Steps beyond which training never looked; null: not known here.")
    symbols: list[SymbolView]
    layers: list[LayerView]
    units: list[UnitView]
    gradient: Gradient | None
    window_loss: WindowLoss | None
    copying: Copying | None = Field(None, description="Of a checkpoint of a language model, when it was made.")


def short(value: float) -> float:
    """Four digits: what a picture shows."""
    return float(f"{value:.4g}")


def shortened(values: Iterable[float]) -> list[float]:
    return [short(value) for value in values]
