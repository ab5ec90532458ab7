"""What a model's parameters are, from the head of their file alone. Torch-free; reads no parameter."""

import json
import math
from typing import NamedTuple

from rnncore.errors import CorruptCheckpoint
from rnncore.manifest import WEIGHTS
from services.storage import Storage

# A head holds the vocabulary too. One that is longer than this is none of ours.
_MOST_BYTES = 16 << 20
_FIRST_BYTES = 64 << 10
_LENGTH_BYTES = 8


class Tensor(NamedTuple):
    """One parameter tensor."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def read_tensors(storage: Storage, folder: str) -> list[Tensor]:
    """The tensors of the checkpoint in `folder`, as the head of its weights lists them (safetensors' format).

    Raises NotFound or Unavailable as the storage does, CorruptCheckpoint where the file is no such thing.
    """
    path = f"{folder}/{WEIGHTS}"
    first = storage.get(path, most_bytes=_FIRST_BYTES)
    length = int.from_bytes(first[:_LENGTH_BYTES], "little")
    if length > _MOST_BYTES:
        raise CorruptCheckpoint(f"{path} begins with a head of {length} bytes; {_MOST_BYTES} is the most")
    end = _LENGTH_BYTES + length
    head = (first if end <= len(first) else storage.get(path, most_bytes=end))[_LENGTH_BYTES:end]
    try:
        listed = json.loads(head)
        return [Tensor(name, tuple(about["shape"])) for name, about in listed.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptCheckpoint(f"{path} has no head that can be read") from error
