"""Copies on this machine of what is stored elsewhere: what is fetched, what stays, what goes."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from rnncore.errors import NotFound
from services.local_copies import LocalCopies

SIZE = 10


class Elsewhere:
    """A storage of files that hold ten times the first letter of their name."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def fetch(self, name: str, path: Path) -> None:
        self.fetched.append(name)
        if name == "missing":
            path.write_bytes(b"half")
            raise NotFound("missing is no longer stored")
        path.write_bytes(name[:1].encode() * SIZE)


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def copies(tmp_path: Path) -> LocalCopies:
    """Room for three files."""
    return LocalCopies(tmp_path / "copies", 3 * SIZE + 5)


def use(copies: LocalCopies, elsewhere: Elsewhere, *names: str) -> None:
    for name in names:
        with copies.holding([name], elsewhere.fetch):
            assert (copies.folder / name).read_bytes() == name[:1].encode() * SIZE
        os.utime(copies.folder / name, (time.time() - 100 + len(elsewhere.fetched),) * 2)


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_file_is_fetched_once_while_it_is_kept(copies: LocalCopies, elsewhere: Elsewhere) -> None:
    use(copies, elsewhere, "a", "b", "a", "b")
    assert elsewhere.fetched == ["a", "b"]


def test_file_that_nobody_used_for_longest_goes_first(copies: LocalCopies, elsewhere: Elsewhere) -> None:
    use(copies, elsewhere, "a", "b/1", "c")
    with copies.holding(["a"], elsewhere.fetch):
        pass
    use(copies, elsewhere, "d")
    assert names_in(copies.folder) == ["a", "c", "d"]


def test_file_in_use_stays_however_many_come(copies: LocalCopies, elsewhere: Elsewhere) -> None:
    use(copies, elsewhere, "a")
    other = LocalCopies(copies.folder, 3 * SIZE + 5)
    with copies.holding(["a"], elsewhere.fetch):
        os.utime(copies.folder / "a", (1, 1))
        use(other, elsewhere, "b", "c", "d", "e")
        assert names_in(copies.folder) == ["a", "d", "e"]
    use(other, elsewhere, "f", "g", "h")
    assert names_in(copies.folder) == ["f", "g", "h"]


def test_file_larger_than_all_room_is_there_while_it_is_used(tmp_path: Path, elsewhere: Elsewhere) -> None:
    copies = LocalCopies(tmp_path / "copies", 3)
    use(copies, elsewhere, "a", "b")
    assert names_in(copies.folder) == ["b"]


def test_mapped_file_stays_readable_when_it_has_gone(copies: LocalCopies, elsewhere: Elsewhere) -> None:
    with copies.holding(["a"], elsewhere.fetch):
        mapped = np.memmap(copies.folder / "a", dtype=np.uint8, mode="r")
    os.utime(copies.folder / "a", (1, 1))
    use(copies, elsewhere, "b", "c", "d")
    assert "a" not in names_in(copies.folder)
    assert mapped.tolist() == [ord("a")] * SIZE


def test_fetch_that_fails_leaves_nothing(copies: LocalCopies, elsewhere: Elsewhere) -> None:
    for _ in range(2):
        with pytest.raises(NotFound), copies.holding(["a", "missing"], elsewhere.fetch):
            pass
    assert names_in(copies.folder) == ["a"]


def test_file_that_two_fetch_at_once_is_one_file(copies: LocalCopies, elsewhere: Elsewhere) -> None:
    other = LocalCopies(copies.folder, 3 * SIZE + 5)

    def fetch_slowly(name: str, path: Path) -> None:
        with other.holding([name], elsewhere.fetch):
            held.append((copies.folder / name).stat().st_ino)
        path.write_bytes(b"a" * SIZE)

    held: list[int] = []
    with copies.holding(["a"], fetch_slowly):
        assert (copies.folder / "a").stat().st_ino == held[0]
    assert names_in(copies.folder) == ["a"]


def test_draft_of_a_process_that_is_no_more_goes_too(copies: LocalCopies, elsewhere: Elsewhere) -> None:
    left, written = copies.draft(), copies.draft()
    for draft in (left, written):
        draft.write_bytes(bytes(100))
    os.utime(left, (1, 1))
    use(copies, elsewhere, "a", "b")
    assert names_in(copies.folder) == ["a", "b", str(written.relative_to(copies.folder))]
