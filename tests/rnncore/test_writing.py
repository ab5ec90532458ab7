"""Symbols -> text that stays: what is held back, where it stops, and which symbols stand in it."""

import pytest

from rnncore.vocabulary import BYTES, Vocabulary
from rnncore.writing import Writer

LETTERS = Vocabulary(kind="characters", symbols="abcdefé\n")


def ids(text: str) -> list[int]:
    return [LETTERS.symbols.index(symbol) for symbol in text]


def test_text_comes_symbol_by_symbol() -> None:
    writer = Writer(LETTERS)
    assert [writer.add(ids(symbol)) for symbol in "badé"] == list("badé")
    assert (writer.end(), writer.offsets, writer.num_kept) == ("", [0, 1, 2, 3], 4)


def test_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    writer = Writer(LETTERS, ("bcd",))
    assert [writer.add(ids(symbol)) for symbol in "abcbcf"] == ["a", "", "", "bc", "", "bcf"]
    assert not writer.holds_text


def test_text_ends_before_the_first_stop_string_and_takes_no_more() -> None:
    writer = Writer(LETTERS, ("de", "bcd"))
    assert "".join(writer.add(ids(symbol)) for symbol in "abcdea") == "a"
    assert (writer.has_stopped, writer.end(), writer.num_kept) == (True, "", 1)


def test_held_text_is_given_out_at_the_end() -> None:
    writer = Writer(LETTERS, ("bcd",))
    assert writer.add(ids("abc")) == "a"
    assert writer.holds_text
    assert (writer.end(), writer.num_kept, writer.has_stopped) == ("bc", 3, False)


def test_symbols_given_together_spell_the_same() -> None:
    writer = Writer(LETTERS, ("bcd",))
    assert writer.add(ids("abcbcdef")) == "abc"
    assert (writer.has_stopped, writer.num_kept) == (True, 3)


def test_bytes_of_a_character_come_with_its_last_one() -> None:
    writer = Writer(BYTES)
    raw = list("aé€".encode())
    assert [writer.add([byte]) for byte in raw] == ["a", "", "é", "", "", "€"]
    assert writer.offsets == [0, 1, 1, 2, 2, 2]
    assert writer.num_kept == 6


def test_character_without_its_last_bytes_is_shown_as_a_replacement_at_the_end() -> None:
    writer = Writer(BYTES)
    assert writer.add(list("a€".encode())[:-1]) == "a"
    assert (writer.num_kept, writer.end(), writer.num_kept) == (1, "\N{REPLACEMENT CHARACTER}", 3)


@pytest.mark.parametrize("stop", [("é",), ("a€",)])
def test_stop_strings_are_found_in_bytes(stop: tuple[str, ...]) -> None:
    writer = Writer(BYTES, stop)
    text = writer.add(list(f"b{stop[0]}b".encode()))
    assert (text, writer.has_stopped, writer.num_kept) == ("b", True, 1)
