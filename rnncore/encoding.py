"""How what people know becomes what a network reads, and back. Saved with every checkpoint. Torch-free.

A network reads ids or numbers and answers with scores or numbers; the encoding of its task says which id is which
symbol, and what one unit of a number is.
"""

from pydantic import BaseModel, ConfigDict

from rnncore.vocabulary import Vocabulary


class Encoding(BaseModel):
    """What the network of a language model reads and writes: symbols of one vocabulary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: Vocabulary
