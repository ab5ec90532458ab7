"""The parameters of a model, from the head of their file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from rnncore.errors import CorruptCheckpoint
from services.models.parameters import Tensor, read_tensors
from services.storage import Storage

FOLDER = "jobs/j/checkpoints/1"


@pytest.fixture
def stored(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "stored"))


def put(storage: Storage, content: bytes) -> None:
    storage.put(f"{FOLDER}/weights.safetensors", content)


@pytest.mark.parametrize("vocabulary", ["abc", "x" * 100_000], ids=["short", "longer than the first piece"])
def test_every_tensor_is_told_with_its_shape(stored: Storage, vocabulary: str) -> None:
    tensors = {"embedding.weight": torch.zeros(7, 3), "head.bias": torch.zeros(5), "scale": torch.zeros(())}
    put(stored, save(tensors, {"vocabulary": vocabulary}))
    found = read_tensors(stored, FOLDER)
    assert sorted(found) == [Tensor("embedding.weight", (7, 3)), Tensor("head.bias", (5,)), Tensor("scale", ())]
    assert {one.name: one.size for one in found} == {"embedding.weight": 21, "head.bias": 5, "scale": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05\0\0\0\0\0\0\0[1,2]",
        b"\x05\0\0\0\0\0\0\0nope!",
        b"\x09\0\0\0\0\0\0\0" + b'{"a": {}}',
        (1 << 40).to_bytes(8, "little"),
    ],
    ids=["empty", "a list", "no JSON", "no shape", "a head of a terabyte"],
)
def test_file_without_such_a_head_is_refused(stored: Storage, content: bytes) -> None:
    put(stored, content)
    with pytest.raises(CorruptCheckpoint):
        read_tensors(stored, FOLDER)
