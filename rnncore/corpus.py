"""What is known of a text before any of it is trained on: its symbols, its split, whether a job fits it. Torch-free.

The summary is made once, while the text is uploaded; from it alone a submission is checked and a vocabulary made.
"""

import codecs
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from rnncore.errors import InvalidInput, InvalidText
from rnncore.spec import JobSpec
from rnncore.vocabulary import BYTES, MAX_SYMBOLS, Vocabulary, VocabularyKind, code_points, unknown_symbol

_CODE_POINTS = 0x110000
_NEVER = np.iinfo(np.int64).max


class TextSummary(BaseModel):
    """Length and symbols of a text. `offsets[i]` is where `symbols[i]` first occurs; sorted by offset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["text"] = "text"
    vocabulary: VocabularyKind
    num_symbols: int
    symbols: str = ""
    offsets: tuple[int, ...] = ()


class TextScan:
    """Reads a text piece by piece, as it is uploaded, and ends in a TextSummary."""

    def __init__(self, kind: VocabularyKind) -> None:
        self._kind = kind
        self._num_bytes = 0
        self._num_symbols = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._first = np.full(_CODE_POINTS if kind == "characters" else 256, _NEVER, dtype=np.int64)

    def feed(self, piece: bytes, *, final: bool = False) -> None:
        """Takes the next bytes. Raises InvalidText naming the byte offset of the first one that is not UTF-8."""
        if self._kind == "bytes":
            self._count(np.frombuffer(piece, dtype=np.uint8))
        else:
            self._count(code_points(self._decode(piece, final)))
        self._num_bytes += len(piece)

    def summary(self) -> TextSummary:
        """What was read. Raises InvalidText for a text nothing can be learnt from."""
        self.feed(b"", final=True)
        seen = np.flatnonzero(self._first != _NEVER)
        if self._num_symbols == 0:
            raise InvalidText("the text is empty; upload at least two different symbols", param="file")
        if seen.size < 2:
            raise InvalidText(
                f"the text consists of one symbol, {chr(seen[0])!r}, {self._num_symbols} times; "
                "there is nothing to predict: upload at least two different symbols",
                param="file",
            )
        if seen.size > MAX_SYMBOLS:
            raise InvalidText(
                f"the text has {seen.size} different symbols, the limit is {MAX_SYMBOLS}; "
                'upload it with vocabulary="bytes"',
                param="file",
            )
        if self._kind == "bytes":
            return TextSummary(vocabulary="bytes", num_symbols=self._num_symbols)
        seen = seen[np.argsort(self._first[seen], kind="stable")]
        return TextSummary(
            vocabulary="characters",
            num_symbols=self._num_symbols,
            symbols="".join(map(chr, seen)),
            offsets=tuple(int(i) for i in self._first[seen]),
        )

    def _decode(self, piece: bytes, final: bool) -> str:
        held = self._decoder.getstate()[0]
        try:
            return self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            offset = self._num_bytes - len(held) + error.start
            byte = error.object[error.start]
            raise InvalidText(
                f"byte 0x{byte:02X} at offset {offset} is not UTF-8 ({error.reason}); "
                'convert the file to UTF-8, or upload it with vocabulary="bytes"',
                param="file",
            ) from error

    def _count(self, codes: np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]) -> None:
        distinct, first = np.unique(codes, return_index=True)
        self._first[distinct] = np.minimum(self._first[distinct], first + self._num_symbols)
        self._num_symbols += codes.size


class TextPlan(BaseModel):
    """How a job reads its text: symbols [0, num_training) train; the rest, or another data set, validates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: Vocabulary
    num_training: int
    num_validation: int
    validates_tail: bool

    @classmethod
    def of(
        cls,
        spec: JobSpec,
        text: TextSummary,
        validation: TextSummary | None = None,
        known: Vocabulary | None = None,
    ) -> Self:
        """The plan of `spec`. `known` is the vocabulary of the model it starts from.

        Raises InvalidInput naming the field, or UnknownSymbol naming the symbol, if the job cannot run on this text.
        """
        if validation is not None and validation.vocabulary != text.vocabulary:
            raise InvalidInput(
                f"validation_dataset has vocabulary {validation.vocabulary!r}, "
                f"dataset has {text.vocabulary!r}; they must agree",
                param="validation_dataset",
            )
        fraction = spec.train.validation_fraction
        num_training = text.num_symbols if validation else int(text.num_symbols * (1 - fraction))
        num_validation = validation.num_symbols if validation else text.num_symbols - num_training
        _check_length(spec, num_training, num_validation)
        vocabulary = known or _vocabulary(text, num_training, spec.model.unknown)
        if vocabulary.kind != text.vocabulary:
            raise InvalidInput(
                f"init_from is a model of {vocabulary.kind}, the data set holds {text.vocabulary}; they must agree",
                param="init_from",
            )
        _check_symbols(vocabulary, text, "dataset")
        if validation:
            _check_symbols(vocabulary, validation, "validation_dataset")
        for prompt in spec.train.sample_prompts:
            vocabulary.encode(prompt, param="train.sample_prompts")
        return cls(
            vocabulary=vocabulary,
            num_training=num_training,
            num_validation=num_validation,
            validates_tail=validation is None,
        )


def _vocabulary(text: TextSummary, num_training: int, unknown: bool) -> Vocabulary:
    if text.vocabulary == "bytes":
        return BYTES
    symbols = (s for s, at in zip(text.symbols, text.offsets, strict=True) if at < num_training)
    return Vocabulary(kind="characters", symbols="".join(sorted(symbols)), unknown=unknown)


def _check_symbols(vocabulary: Vocabulary, text: TextSummary, param: str) -> None:
    if vocabulary.kind == "bytes" or vocabulary.unknown:
        return
    known = set(vocabulary.symbols)
    for symbol, offset in zip(text.symbols, text.offsets, strict=True):
        if symbol not in known:
            raise unknown_symbol(symbol, offset, param=param)


def _check_length(spec: JobSpec, num_training: int, num_validation: int) -> None:
    batch, steps = spec.train.batch_size, spec.train.tbptt_steps or 1
    needed = batch * steps + 1
    if num_training < needed:
        raise InvalidInput(
            f"training part of {num_training} symbols is too short for batch_size={batch} x tbptt_steps={steps}; "
            f"need at least {needed}, or lower train.batch_size or train.tbptt_steps",
            param="train.batch_size",
        )
    if num_validation < 2:
        raise InvalidInput(
            f"validation part of {num_validation} symbols is too short; need at least 2: raise "
            "train.validation_fraction or name a validation_dataset",
            param="train.validation_fraction",
        )
