"""The JSON half of a checkpoint: signed, and read only if the signature is ours."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore.encoding import Encoding
from rnncore.errors import CorruptCheckpoint
from rnncore.manifest import Manifest, Progress
from rnncore.spec import ModelSpec
from rnncore.vocabulary import Vocabulary

SECRET = b"ours"
MANIFEST = Manifest(
    job="job-1",
    epoch=2,
    task="language_model",
    model=ModelSpec(hidden_size=7),
    encoding=Encoding(vocabulary=Vocabulary(kind="characters", symbols="ab한\n")),
    precision="fp32",
    progress=Progress(step=3, window=5, characters=75, training_seconds=0.5),
    validation_loss=1.5,
    parameters_sha256="ab",
    environment={"torch": "2", "threads": 1},
    files={"weights.safetensors": "ab", "training.safetensors": "cd"},
)


def test_signed_manifest_is_read_back_whole() -> None:
    signed = MANIFEST.signed(SECRET)
    assert Manifest.parse(signed.model_dump_json(indent=1).encode(), SECRET) == signed


@given(numbers=st.tuples(*[st.floats(min_value=1e-300, max_value=1e300)] * 3))
@settings(deadline=None, database=None, max_examples=50)
def test_signature_holds_whatever_the_numbers(numbers: tuple[float, float, float]) -> None:
    seconds, training, validation = numbers
    progress = Progress(step=1, training_seconds=seconds)
    signed = MANIFEST.model_copy(
        update={"progress": progress, "train_loss": training, "validation_loss": validation}
    ).signed(SECRET)
    assert Manifest.parse(signed.model_dump_json().encode(), SECRET) == signed


def test_any_altered_byte_is_refused() -> None:
    raw = MANIFEST.signed(SECRET).model_dump_json(indent=1).encode()
    for at in range(len(raw)):
        with pytest.raises(CorruptCheckpoint, match=r"manifest\.json"):
            Manifest.parse(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], SECRET)


@pytest.mark.parametrize("signature", ["", "0" * 64, "ä"], ids=["none", "made up", "not even hex"])
def test_manifest_without_our_signature_is_refused(signature: str) -> None:
    raw = MANIFEST.model_copy(update={"signature": signature}).model_dump_json().encode()
    with pytest.raises(CorruptCheckpoint, match=r"manifest\.json of job-1 was not signed by this installation"):
        Manifest.parse(raw, SECRET)


def test_manifest_signed_with_another_secret_is_refused() -> None:
    raw = MANIFEST.signed(b"theirs").model_dump_json().encode()
    with pytest.raises(CorruptCheckpoint, match="was not signed by this installation"):
        Manifest.parse(raw, SECRET)


def test_manifest_of_another_format_is_refused_even_if_signed() -> None:
    raw = MANIFEST.model_copy(update={"format": 2}).signed(SECRET).model_dump_json().encode()
    with pytest.raises(CorruptCheckpoint, match="has format 2; this version reads 1"):
        Manifest.parse(raw, SECRET)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(CorruptCheckpoint, match=r"manifest\.json cannot be read"):
        Manifest.parse(raw, SECRET)
