"""How what people know becomes what a network reads, and back. Saved with every checkpoint. Torch-free.

A network reads ids or numbers and answers with scores or numbers; the encoding of its task says which id is which
symbol, and what one unit of a number is. Shapes: N rows or time steps, C channels.
"""

from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from rnncore.tokens import Tokens
from rnncore.vocabulary import Vocabulary

T = TypeVar("T")
Numbers = NDArray[np.float32]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Scale(_Part):
    """Mean and standard deviation of each channel, of the training part alone; a constant channel has deviation 1."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, numbers_NC: NDArray[np.floating]) -> Self:
        """The scale of these numbers."""
        mean, deviation = numbers_NC.mean(axis=0), numbers_NC.std(axis=0)
        return cls(mean=tuple(mean.tolist()), deviation=tuple(np.where(deviation > 0, deviation, 1.0).tolist()))

    def normalise(self, numbers_NC: NDArray[np.floating]) -> Numbers:
        """In deviations from the mean."""
        normal: NDArray[np.float64] = (numbers_NC - np.array(self.mean)) / np.array(self.deviation)
        return normal.astype(np.float32)

    def restore(self, normal_NC: NDArray[np.floating]) -> NDArray[np.float64]:
        """The inverse of `normalise`."""
        restored: NDArray[np.float64] = normal_NC * np.array(self.deviation) + np.array(self.mean)
        return restored


class Encoding(_Part):
    """What a network reads and writes. Each task has the parts that it needs; the properties insist on one.

    `vocabulary` is a language model's; `inputs` and `outputs` are tokens read and written (symbols, labels, tags);
    `input_scale` and `target_scale` belong to numbers; `columns` names the channels of a series, `target` the forecast
    one.
    """

    vocabulary: Vocabulary | None = None
    inputs: Tokens | None = None
    outputs: Tokens | None = None
    input_scale: Scale | None = None
    target_scale: Scale | None = None
    columns: tuple[str, ...] = ()
    target: str | None = None

    @property
    def symbols(self) -> Vocabulary:
        return _held(self.vocabulary)

    @property
    def tokens_read(self) -> Tokens:
        return _held(self.inputs)

    @property
    def tokens_written(self) -> Tokens:
        return _held(self.outputs)

    @property
    def numbers_read(self) -> Scale:
        return _held(self.input_scale)

    @property
    def numbers_written(self) -> Scale:
        return _held(self.target_scale)

    @property
    def num_channels(self) -> int:
        """Numbers read at each step; 0 where symbols are read."""
        return len(self.input_scale.mean) if self.input_scale else 0


def _held(part: T | None) -> T:
    assert part is not None, "this encoding belongs to a task that does not have this part"
    return part
