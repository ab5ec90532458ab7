"""The share of a text that was copied from another, against a naive search. V 3 where texts are random."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnncore import copying as copying_module
from rnncore.copying import LENGTHS, copying, found
from rnncore.inspection import Copying, Inspection
from rnncore.manifest import INSPECTION
from rnncore.text import TextData
from rnncore.vocabulary import BYTES, Vocabulary

LETTERS = Vocabulary(kind="characters", symbols="abcdefghijklmnopqrstuvwxyz ")
TRAINING = "the quick brown fox jumps over the lazy dog"
OTHER = "pack my box with five dozen liquor jugs"


def measured(text: str, *, training: str = TRAINING, held_out: str = OTHER) -> Copying:
    ids = (LETTERS.encode(part).astype(np.uint8) for part in (training, held_out))
    answer = copying(*ids, LETTERS, [("a", text)])
    assert answer
    return answer


def test_text_of_the_training_part_is_copied_whole() -> None:
    answer = measured(TRAINING[4:34])
    assert answer.model_dump() == {
        "searched": len(TRAINING),
        "lengths": [8, 12, 16, 24],
        "copied": [1.0, 1.0, 1.0, 1.0],
        "held_out": [0.0, 0.0, 0.0, 0.0],
        "samples": [{"prompt": "a", "text": TRAINING[4:34], "passages": [(0, 30)]}],
    }


def test_passages_are_where_the_copied_words_stand() -> None:
    text = "xyz" + TRAINING[10:25] + "xyzxyz" + TRAINING[20:39]
    assert measured(text).samples[0].passages == [(3, 18), (24, 43)]


def test_eleven_equal_symbols_are_no_passage_though_stretches_of_eight_are_found() -> None:
    answer = measured("zz" + TRAINING[10:21] + "zz")
    assert answer.samples[0].passages == []
    assert answer.copied == [0.5, 0.0, None, None]


@pytest.mark.parametrize("piece", [1 << 20, 64])
def test_every_stretch_is_found_that_a_naive_search_finds(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(copying_module, "_PIECE", piece)
    draw = np.random.default_rng(5)
    training = draw.integers(0, 3, size=900, dtype=np.uint8)
    text = np.concatenate([draw.integers(0, 3, size=300), training[400:450], training[40:80]]).astype(np.uint8)
    (answer,) = found(training, [text])
    whole = bytes(training)
    expected = {n: [bytes(text[i : i + n]) in whole for i in range(len(text) - n + 1)] for n in LENGTHS}
    assert {length: of_length.tolist() for length, of_length in answer.items()} == expected
    assert 0 < sum(expected[8]) < len(expected[8])


def test_only_the_beginning_of_a_long_text_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying_module, "MAX_SEARCHED", 20)
    assert measured(TRAINING[:20]).copied == [1.0, 1.0, 1.0, None]
    assert measured(TRAINING[20:]).copied[0] == 0.0
    assert measured(TRAINING).searched == 20


def test_sample_of_less_than_eight_symbols_says_nothing() -> None:
    ids = LETTERS.encode(TRAINING).astype(np.uint8)
    assert copying(ids, ids, LETTERS, [("a", "the qui")]) is None
    assert copying(ids, ids, LETTERS, []) is None


def test_places_in_bytes_are_told_in_characters() -> None:
    training = BYTES.encode("ein schöner grüner Baum").astype(np.uint8)
    answer = copying(training, training, BYTES, [("", "öö schöner grüner")])
    assert answer
    assert [(s.text[slice(*s.passages[0])], len(s.passages)) for s in answer.samples] == [(" schöner grüner", 1)]


def test_each_checkpoint_keeps_what_its_own_samples_copied(
    train: Callable[..., Any], make_spec: Callable[..., Any], data: TextData
) -> None:
    recorder = train(make_spec(checkpoint_every_steps=4, validate_every_steps=8), data)
    assert sorted(recorder.samples) == [4, 8]
    for step, samples in recorder.samples.items():
        kept = Inspection.model_validate_json((recorder.folder(step) / INSPECTION).read_text()).copying
        assert kept == copying(data.training, data.validation, data.vocabulary, samples)
        assert kept
        assert [(one.prompt, one.text) for one in kept.samples] == samples
