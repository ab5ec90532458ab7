"""What is known of a text from reading it once: its summary, its split, and whether a job fits it."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rnncore.corpus import TextPlan, TextScan, TextSummary
from rnncore.errors import InvalidInput, InvalidText, UnknownSymbol
from rnncore.spec import JobSpec, ModelSpec, TrainSpec
from rnncore.vocabulary import BYTES, Vocabulary, VocabularyKind


def scan(*pieces: bytes, kind: VocabularyKind = "characters") -> TextSummary:
    text = TextScan(kind)
    for piece in pieces:
        text.feed(piece)
    return text.summary()


def spec(*, unknown: bool = False, **train: Any) -> JobSpec:
    fields = {"batch_size": 3, "tbptt_steps": 5} | train
    return JobSpec(dataset="ds-" + "0" * 32, model=ModelSpec(unknown=unknown), train=TrainSpec.model_validate(fields))


def test_summary_lists_symbols_by_first_occurrence() -> None:
    assert scan("나abba가나".encode()) == TextSummary(
        vocabulary="characters", num_symbols=7, symbols="나ab가", offsets=(0, 1, 2, 5)
    )


def test_summary_of_bytes_counts_bytes_and_lists_none() -> None:
    assert scan("가a".encode(), b"\xff", kind="bytes") == TextSummary(vocabulary="bytes", num_symbols=5)


@given(text=st.text("ab가🙂", min_size=2).filter(lambda text: len(set(text)) > 1), cuts=st.lists(st.integers(0, 40)))
@example(text="a가ba가", cuts=[2, 3, 7])
@settings(deadline=None, database=None, max_examples=30)
def test_summary_does_not_depend_on_where_the_upload_is_cut(text: str, cuts: list[int]) -> None:
    raw = text.encode()
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    summary = scan(*(raw[start:end] for start, end in pairwise(edges)))
    firsts = {symbol: text.index(symbol) for symbol in dict.fromkeys(text)}
    assert summary == TextSummary(
        vocabulary="characters", num_symbols=len(text), symbols="".join(firsts), offsets=tuple(firsts.values())
    )


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([b"abc\xffdef"], r"byte 0xFF at offset 3 is not UTF-8 \(invalid start byte\)"),
        ([b"ab\xed\x95\x9c", b"c\xffd"], r"byte 0xFF at offset 6 is not UTF-8 \(invalid start byte\)"),
        ([b"ab\xed", b"\x95", b"x"], r"byte 0xED at offset 2 is not UTF-8 \(invalid continuation byte\)"),
        ([b"ab\xed", b"\x95"], r"byte 0xED at offset 2 is not UTF-8 \(unexpected end of data\)"),
    ],
    ids=["within a piece", "in a later piece", "across pieces", "cut at the end"],
)
def test_first_byte_that_is_not_utf8_is_named_by_its_offset(pieces: list[bytes], message: str) -> None:
    with pytest.raises(InvalidText, match=message + r'; convert .* or upload it with vocabulary="bytes"') as caught:
        scan(*pieces)
    assert caught.value.param == "file"


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_empty_text_is_refused(kind: VocabularyKind) -> None:
    with pytest.raises(InvalidText, match="the text is empty; upload at least two different symbols"):
        scan(b"", kind=kind)


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_text_of_one_symbol_is_refused_with_its_count(kind: VocabularyKind) -> None:
    with pytest.raises(InvalidText, match="consists of one symbol, 'a', 7 times; there is nothing to predict"):
        scan(b"aaaa", b"aaa", kind=kind)


def test_text_of_too_many_symbols_is_sent_to_bytes() -> None:
    symbols = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x12800)]))
    with pytest.raises(InvalidText, match=r'73728 different symbols, the limit is 65534; upload .* vocabulary="bytes"'):
        scan(symbols.encode())


def test_last_tenth_validates() -> None:
    summary = TextSummary(vocabulary="characters", num_symbols=1_115_394, symbols="ab", offsets=(0, 1))
    assert TextPlan.of(spec(), summary) == TextPlan(
        vocabulary=Vocabulary(kind="characters", symbols="ab"),
        num_training=1_003_854,
        num_validation=111_540,
        validates_tail=True,
    )


def test_validation_data_set_leaves_the_whole_text_to_training() -> None:
    text, validation = scan(b"ab" * 20), scan(b"ba" * 5)
    plan = TextPlan.of(spec(), text, validation)
    assert (plan.num_training, plan.num_validation, plan.validates_tail) == (40, 10, False)


def test_vocabulary_is_that_of_the_training_part_in_order() -> None:
    plan = TextPlan.of(spec(unknown=True), scan(b"cab" * 11 + b"xyz"))
    assert plan.vocabulary == Vocabulary(kind="characters", symbols="abc", unknown=True)


def test_symbol_only_in_the_validation_tail_is_refused_naming_it() -> None:
    with pytest.raises(UnknownSymbol, match=r"symbol '한' \(U\+D55C\) at offset 33 .*model.unknown=true") as caught:
        TextPlan.of(spec(), scan(("cab" * 11 + "한a").encode()))
    assert caught.value.param == "dataset"


def test_symbol_only_in_the_validation_data_set_is_refused_naming_it() -> None:
    with pytest.raises(UnknownSymbol, match=r"symbol 'z' \(U\+007A\) at offset 2 ") as caught:
        TextPlan.of(spec(), scan(b"ab" * 20), scan(b"abz"))
    assert caught.value.param == "validation_dataset"


def test_sample_prompt_outside_the_vocabulary_is_refused_before_training() -> None:
    with pytest.raises(UnknownSymbol, match=r"symbol 'z' \(U\+007A\) at offset 1 ") as caught:
        TextPlan.of(spec(sample_prompts=("ab", "az")), scan(b"ab" * 20))
    assert caught.value.param == "train.sample_prompts"


def test_vocabulary_of_the_first_model_is_kept() -> None:
    known = Vocabulary(kind="characters", symbols="zba")
    assert TextPlan.of(spec(), scan(b"ab" * 20), known=known).vocabulary == known


def test_symbol_outside_the_vocabulary_of_the_first_model_is_refused() -> None:
    with pytest.raises(UnknownSymbol, match=r"symbol 'b' \(U\+0062\) at offset 1 "):
        TextPlan.of(spec(), scan(b"ab" * 20), known=Vocabulary(kind="characters", symbols="xa"))


def test_first_model_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="init_from is a model of bytes, the data set holds characters") as caught:
        TextPlan.of(spec(), scan(b"ab" * 20), known=BYTES)
    assert caught.value.param == "init_from"


def test_validation_data_set_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="validation_dataset has vocabulary 'bytes', dataset has 'chara") as caught:
        TextPlan.of(spec(), scan(b"ab" * 20), scan(b"ab", kind="bytes"))
    assert caught.value.param == "validation_dataset"


def test_bytes_need_no_list_of_symbols() -> None:
    plan = TextPlan.of(spec(), scan(b"ab" * 10, b"\xff\x00", kind="bytes"))
    assert (plan.vocabulary, plan.num_training, plan.num_validation) == (BYTES, 19, 3)


def test_text_too_short_for_one_window_says_how_much_is_needed() -> None:
    with pytest.raises(InvalidInput) as caught:
        TextPlan.of(spec(), scan(b"abcdefghi" + b"a" * 8))
    assert caught.value.message == (
        "training part of 15 symbols is too short for batch_size=3 x tbptt_steps=5; "
        "need at least 16, or lower train.batch_size or train.tbptt_steps"
    )
    assert caught.value.param == "train.batch_size"


def test_text_just_long_enough_for_one_window_is_accepted() -> None:
    assert TextPlan.of(spec(), scan(b"ab" * 9)).num_training == 16


def test_validation_part_of_one_symbol_is_refused() -> None:
    with pytest.raises(InvalidInput, match="validation part of 1 symbols is too short; need at least 2") as caught:
        TextPlan.of(spec(validation_fraction=0.01), scan(b"ab" * 20))
    assert caught.value.param == "train.validation_fraction"
