"""Symbols <-> ids: characters, bytes, and what has no id."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rnncore.errors import UnknownSymbol
from rnncore.vocabulary import BYTES, MAX_SYMBOLS, Vocabulary

ABC = Vocabulary(kind="characters", symbols="abc")
WITH_UNKNOWN = Vocabulary(kind="characters", symbols="abc", unknown=True)


def test_each_character_has_the_id_of_its_place() -> None:
    assert ABC.encode("cabbac").tolist() == [2, 0, 1, 1, 0, 2]
    assert ABC.decode([2, 0, 1, 1, 0, 2]) == "cabbac"


def test_size_counts_the_unknown_symbol() -> None:
    assert (ABC.size, WITH_UNKNOWN.size, BYTES.size) == (3, 4, 256)
    assert (ABC.unknown_id, WITH_UNKNOWN.unknown_id, BYTES.unknown_id) == (None, 3, None)


def test_unknown_symbol_is_refused_naming_symbol_and_offset() -> None:
    with pytest.raises(UnknownSymbol) as caught:
        ABC.encode("ab한c", param="train.sample_prompts")
    assert caught.value.param == "train.sample_prompts"
    assert caught.value.message == (
        "symbol '한' (U+D55C) at offset 2 is not in the vocabulary of the training part; "
        "leave it out, or train with model.unknown=true to map such symbols to one unknown symbol"
    )


def test_offset_counts_code_points_and_not_bytes() -> None:
    korean = Vocabulary(kind="characters", symbols="가나다")
    with pytest.raises(UnknownSymbol, match=r"symbol 'x' \(U\+0078\) at offset 3 "):
        korean.encode("다나가x")


def test_unknown_symbols_share_the_last_id_and_are_shown_as_replacement() -> None:
    assert WITH_UNKNOWN.encode("axb한").tolist() == [0, 3, 1, 3]
    assert WITH_UNKNOWN.decode([0, 3, 1]) == "a\N{REPLACEMENT CHARACTER}b"


def test_symbols_are_not_normalised() -> None:
    composed, decomposed = "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"
    vocabulary = Vocabulary(kind="characters", symbols=composed + decomposed)
    assert vocabulary.encode(composed).tolist() == [0]
    assert vocabulary.encode(decomposed).tolist() == [1, 2]


def test_every_id_of_the_largest_vocabulary_is_its_own() -> None:
    symbols = "".join(map(chr, [*range(0xD800), *range(0xE000, 0xE000 + MAX_SYMBOLS - 0xD800)]))
    vocabulary = Vocabulary(kind="characters", symbols=symbols, unknown=True)
    assert vocabulary.size == MAX_SYMBOLS + 1
    assert vocabulary.encode(symbols).tolist() == list(range(MAX_SYMBOLS))
    assert vocabulary.encode("\U0001f600").tolist() == [MAX_SYMBOLS]


@pytest.mark.parametrize("vocabulary", [ABC, WITH_UNKNOWN, BYTES], ids=["refusing", "unknown", "bytes"])
def test_lone_surrogate_is_refused_in_every_vocabulary(vocabulary: Vocabulary) -> None:
    with pytest.raises(UnknownSymbol) as caught:
        vocabulary.encode("ab\udc80")
    assert caught.value.message == "lone surrogate U+DC80 at offset 2 is not text; remove it"
    assert caught.value.param == "prompt"


def test_byte_vocabulary_encodes_utf8() -> None:
    assert BYTES.encode("a한").tolist() == [0x61, 0xED, 0x95, 0x9C]


def test_bytes_of_one_sequence_are_shown_together_with_the_last_one() -> None:
    ids = iter(BYTES.encode("a한🙂z").tolist())
    assert list(BYTES.pieces(ids)) == ["a", "", "", "한", "", "", "", "🙂", "z"]


def test_cut_byte_sequence_is_shown_as_replacement_at_the_end() -> None:
    assert list(BYTES.pieces(iter([0x61, 0xED, 0x95]))) == ["a", "", "", "\N{REPLACEMENT CHARACTER}"]


def test_bytes_that_are_not_utf8_become_replacements() -> None:
    assert BYTES.decode([0x61, 0xFF, 0x62]) == "a\N{REPLACEMENT CHARACTER}b"


@given(text=st.text(max_size=30))
@settings(deadline=None, database=None, max_examples=50)
def test_byte_pieces_join_to_the_text_and_never_hold_half_a_symbol(text: str) -> None:
    pieces = list(BYTES.pieces(iter(BYTES.encode(text).tolist())))
    assert [piece for piece in pieces if piece] == list(text)
    assert len(pieces) == len(text.encode())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "characters", "symbols": "aba"}, "symbols must be distinct"),
        ({"kind": "bytes", "symbols": "a"}, "it always is the 256 bytes"),
        ({"kind": "bytes", "unknown": True}, "it always is the 256 bytes"),
    ],
)
def test_vocabulary_that_contradicts_itself_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Vocabulary.model_validate(fields)


def test_form_feed_begins_a_document() -> None:
    assert Vocabulary(kind="characters", symbols="ab\fc").boundary_id == 2
    assert ABC.boundary_id is None
    assert BYTES.boundary_id == 12
