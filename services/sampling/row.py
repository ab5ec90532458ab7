"""One text being written: what was asked, and what has come of it. Shared by whoever asked and the batcher's thread.

The batcher alone writes to a row; its lists only grow, so that a reader on another thread sees a true beginning.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rnncore.sampling import SamplingParameters
from rnncore.writing import Writer
from services.sampling.handles import Context

FinishReason = Literal["stop", "length"]


class Score(NamedTuple):
    """Log-probability of a symbol, and the likeliest symbols in its place with theirs, best first."""

    logprob: float
    top: list[tuple[int, float]]


class Kept(NamedTuple):
    """The last place that is certain to stay in the text: the state before `unread`, which `written[place:]` follow."""

    state_S: Tensor
    unread: list[int]
    place: int


@dataclass(eq=False)
class Row:
    """A text to write, and what is written.

    `ids` are read before the first symbol is chosen, at least one, from `state_S` or from the zero state.
    """

    key: str
    """Whose it is, for fair turns."""
    ids: NDArray[np.int64]
    parameters: SamplingParameters
    state_S: Tensor | None = None
    num_top: int | None = None
    """How many alternatives to score with each symbol; None: no scores at all."""
    scores_prompt: bool = False
    wants_state: bool = False
    watch: Writer | None = None
    """Tells the batcher when a stop string has appeared."""
    deadline: float = float("inf")
    """When nobody waits any longer, by the monotonic clock."""
    siblings: list["Row"] = field(default_factory=list)
    """Rows that go on from the same ids; they are not read again."""

    written: list[int] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    prompt_scores: list[Score] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    context: Context | None = None
    """Where the text ended, if that was wanted."""
    error: Exception | None = None
    is_cancelled: bool = False
    has_told: bool = False
    """Whether somebody has heard of it since it began."""
    num_read: int = 0
    """How many of `ids` are behind `state_S`."""
    can_be_prefix: bool = False
    """Whether the ids read so far begin a text, so that their state may serve other prompts."""
    kept: Kept | None = None

    @property
    def has_ended(self) -> bool:
        return self.finish_reason is not None or self.error is not None

    @property
    def num_left(self) -> int:
        return self.parameters.max_tokens - len(self.written)

    @property
    def is_watched(self) -> bool:
        """Whether something has to be looked at after every single symbol."""
        return self.watch is not None or self.num_top is not None
