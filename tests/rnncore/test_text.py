"""A text file becomes the ids its vocabulary gives, however it is bitten."""

from pathlib import Path

import numpy as np
import pytest

from rnncore import text as text_module
from rnncore.corpus import TextPlan
from rnncore.errors import UnknownSymbol
from rnncore.text import load_text
from rnncore.vocabulary import BYTES, Vocabulary

TEXT = "a한글🙂bé한a글b\n"


def plan(vocabulary: Vocabulary, num_training: int, num_validation: int, *, validates_tail: bool = True) -> TextPlan:
    return TextPlan(
        vocabulary=vocabulary, num_training=num_training, num_validation=num_validation, validates_tail=validates_tail
    )


def write(folder: Path, content: str, name: str = "text") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8", newline="")
    return path


def characters(content: str) -> Vocabulary:
    return Vocabulary(kind="characters", symbols="".join(sorted(set(content))))


@pytest.mark.parametrize("bite_bytes", [1, 2, 3, 5, 1 << 20])
def test_ids_are_those_of_the_vocabulary_wherever_a_bite_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bite_bytes: int
) -> None:
    monkeypatch.setattr(text_module, "_BITE_BYTES", bite_bytes)
    vocabulary = characters(TEXT)
    data = load_text(write(tmp_path, TEXT), plan(vocabulary, 8, 3))
    assert data.vocabulary == vocabulary
    assert data.training.tolist() == vocabulary.encode(TEXT[:8]).tolist()
    assert data.validation.tolist() == vocabulary.encode(TEXT[8:]).tolist()


def test_line_ends_are_kept_as_they_are(tmp_path: Path) -> None:
    vocabulary = characters("a\r\nb")
    data = load_text(write(tmp_path, "a\r\nb\n"), plan(vocabulary, 3, 2))
    assert vocabulary.decode([*data.training.tolist(), *data.validation.tolist()]) == "a\r\nb\n"


def test_ids_take_one_byte_up_to_256_symbols_and_two_beyond(tmp_path: Path) -> None:
    for size, dtype in [(256, np.uint8), (257, np.uint16)]:
        content = "".join(chr(0x4E00 + i) for i in range(size))
        data = load_text(write(tmp_path, content), plan(characters(content), size - 2, 2))
        assert data.training.dtype == dtype
        assert [*data.training.tolist(), *data.validation.tolist()] == list(range(size))


def test_bytes_are_their_own_ids(tmp_path: Path) -> None:
    raw = TEXT.encode()
    data = load_text(write(tmp_path, TEXT), plan(BYTES, 20, len(raw) - 20))
    assert bytes(data.training) == raw[:20]
    assert bytes(data.validation) == raw[20:]


@pytest.mark.parametrize("vocabulary", [characters(TEXT), BYTES], ids=["characters", "bytes"])
def test_validation_file_is_read_instead_of_the_tail(tmp_path: Path, vocabulary: Vocabulary) -> None:
    other = "글b한"
    data = load_text(
        write(tmp_path, TEXT),
        plan(vocabulary, vocabulary.encode(TEXT).size, vocabulary.encode(other).size, validates_tail=False),
        write(tmp_path, other, "validation"),
    )
    assert data.training.tolist() == vocabulary.encode(TEXT).tolist()
    assert data.validation.tolist() == vocabulary.encode(other).tolist()


def test_unknown_symbol_is_named_by_its_offset_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "_BITE_BYTES", 4)
    with pytest.raises(UnknownSymbol, match=r"symbol 'z' \(U\+007A\) at offset 11 "):
        load_text(write(tmp_path, TEXT + "z"), plan(characters(TEXT), 9, 3))


def test_unknown_symbols_are_mapped_where_allowed(tmp_path: Path) -> None:
    vocabulary = Vocabulary(kind="characters", symbols="ab", unknown=True)
    data = load_text(write(tmp_path, "abzab한"), plan(vocabulary, 4, 2))
    assert [data.training.tolist(), data.validation.tolist()] == [[0, 1, 2, 0], [1, 2]]
