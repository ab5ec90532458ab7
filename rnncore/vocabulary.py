"""Symbols <-> ids, for characters and for bytes. Torch-free; knows no file and no data set.

A symbol is one Unicode code point (no normalisation) or one byte. Ids are 0..size-1; with `unknown`, the last id
stands for every symbol that is not listed.
"""

import codecs
from collections.abc import Callable, Iterator
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from rnncore.errors import UnknownSymbol

VocabularyKind = Literal["characters", "bytes"]

MAX_SYMBOLS = 65_534  # one id is left for `unknown`, one marks an absent symbol
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
BOUNDARY = "\f"
_CODE_POINTS = 0x110000


class Vocabulary(BaseModel):
    """Symbols a model knows. `symbols` lists the code points by id, as one string; empty for bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: VocabularyKind
    symbols: str = ""
    unknown: bool = False

    @model_validator(mode="after")
    def _symbols_are_distinct(self) -> Self:
        if self.kind == "bytes" and (self.symbols or self.unknown):
            raise ValueError("a byte vocabulary lists no symbols: it always is the 256 bytes")
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("symbols must be distinct")
        return self

    @property
    def size(self) -> int:
        """Number of ids, that of `unknown` included."""
        return 256 if self.kind == "bytes" else len(self.symbols) + self.unknown

    @property
    def unknown_id(self) -> int | None:
        return len(self.symbols) if self.unknown else None

    @property
    def boundary_id(self) -> int | None:
        """Id of the form feed, which begins each document of a text that has several; None where there is none."""
        if self.kind == "bytes":
            return ord(BOUNDARY)
        return self.symbols.index(BOUNDARY) if BOUNDARY in self.symbols else None

    def encode(self, text: str, *, param: str = "prompt") -> NDArray[np.int64]:
        """Ids of `text`, one a symbol. Raises UnknownSymbol naming the first symbol that has none."""
        if self.kind == "bytes":
            return np.frombuffer(_utf8(text, param), dtype=np.uint8).astype(np.int64)
        _utf8(text, param)
        return self.encoder()(code_points(text), param, 0).astype(np.int64)

    def encoder(self) -> Callable[[NDArray[np.uint32], str, int], NDArray[np.uint16]]:
        """A function from code points to ids, its table made once.

        It takes the code points, the name of the field they come from and the offset of the first one.
        """
        table = np.full(_CODE_POINTS, MAX_SYMBOLS, dtype=np.uint16)
        table[code_points(self.symbols)] = np.arange(len(self.symbols), dtype=np.uint16)

        def encode(codes: NDArray[np.uint32], param: str, offset: int) -> NDArray[np.uint16]:
            ids = table[codes]
            absent = np.flatnonzero(ids == MAX_SYMBOLS)
            if absent.size:
                if self.unknown_id is None:
                    raise unknown_symbol(chr(codes[absent[0]]), offset + int(absent[0]), param=param)
                ids[absent] = self.unknown_id
            return ids

        return encode

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return "".join(self.pieces(iter(ids)))

    def name(self, i: int) -> str:
        """How one symbol is shown by itself: `bytes:\\xNN` for a byte that is no ASCII character."""
        if self.kind == "bytes":
            return chr(i) if i < 0x80 else f"bytes:\\x{i:02x}"
        return REPLACEMENT if i == self.unknown_id else self.symbols[i]

    def pieces(self, ids: Iterator[int]) -> Iterator[str]:
        """One string for each id, so that a stream can be shown as it comes.

        In byte mode the bytes of one UTF-8 sequence come together with its last byte, the earlier ones as "".
        """
        if self.kind == "characters":
            for i in ids:
                yield self.name(i)
            return
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for i in ids:
            yield decoder.decode(bytes([i]))
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest


BYTES = Vocabulary(kind="bytes")


def code_points(text: str) -> NDArray[np.uint32]:
    """The code points of `text`."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def unknown_symbol(symbol: str, offset: int, *, param: str) -> UnknownSymbol:
    """The refusal of one symbol, the same wherever it is found."""
    return UnknownSymbol(
        f"symbol {symbol!r} (U+{ord(symbol):04X}) at offset {offset} is not in the vocabulary of the training part; "
        "leave it out, or train with model.unknown=true to map such symbols to one unknown symbol",
        param=param,
    )


def _utf8(text: str, param: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UnknownSymbol(
            f"lone surrogate U+{ord(text[error.start]):04X} at offset {error.start} is not text; remove it", param=param
        ) from error
