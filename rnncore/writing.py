"""Symbols one after another -> text that is certain to stay. Knows no network and no request. Torch-free."""

import codecs
from bisect import bisect_left
from collections.abc import Callable, Iterable

from rnncore.vocabulary import Vocabulary


class Writer:
    """Spells one text as its symbols come, and ends it before the first stop string.

    In byte mode a character appears with its last byte; what may yet become a stop string is held back.
    """

    def __init__(self, vocabulary: Vocabulary, stop: tuple[str, ...] = ()) -> None:
        self._stop = stop
        self._spell, self._rest = _speller(vocabulary)
        self._held = ""
        self._num_given = 0
        self._num_spelled = 0
        self.offsets: list[int] = []
        """Of each symbol, the offset of its character in the text."""
        self.has_stopped = False
        """Whether a stop string has ended the text."""

    @property
    def num_kept(self) -> int:
        """How many of the symbols stand in the text that was given out."""
        return bisect_left(self.offsets, self._num_given)

    @property
    def holds_text(self) -> bool:
        """Whether some of the text so far may not stay."""
        return bool(self._held) or self._num_spelled > self._num_given

    def add(self, ids: Iterable[int]) -> str:
        """The text that is certain with these symbols; no more once it has stopped."""
        text = ""
        for i in ids:
            if self.has_stopped:
                break
            self.offsets.append(self._num_spelled)
            spelled = self._spell(i)
            self._num_spelled += len(spelled)
            self._held += spelled
            text += self._release()
        return text

    def end(self) -> str:
        """What is left when no symbol follows: held text, and U+FFFD for a character whose last bytes are missing."""
        if self.has_stopped:
            return ""
        self._held += self._rest()
        text = self._release()
        if not self.has_stopped:
            text += self._give(len(self._held))
        return text

    def _release(self) -> str:
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.has_stopped = True
            text = self._give(min(found))
            self._held = ""
            return text
        return self._give(len(self._held) - _possible_stop(self._held, self._stop))

    def _give(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._num_given += length
        return text


def beginning(vocabulary: Vocabulary) -> int:
    """What an empty prompt stands for: a document's boundary, or a line break."""
    if vocabulary.kind == "bytes":
        return ord("\n")
    if vocabulary.boundary_id is not None:
        return vocabulary.boundary_id
    return max(0, vocabulary.symbols.find("\n"))


def _speller(vocabulary: Vocabulary) -> tuple[Callable[[int], str], Callable[[], str]]:
    """What one more symbol spells, and what is left at the end."""
    if vocabulary.kind == "characters":
        return vocabulary.name, lambda: ""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return lambda i: decoder.decode(bytes([i])), lambda: decoder.decode(b"", final=True)


def _possible_stop(text: str, stops: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that begins a stop string."""
    longest = max(map(len, stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
