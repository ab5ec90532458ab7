"""Storage, on a local folder and on one behind fsspec; and the history kept in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from rnncore.errors import NotFound
from services.storage import History, Storage, merged, read_history


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "cache"))
    yield Storage(str(tmp_path / "stored") if request.param == "local" else "memory://stored")
    memory = fsspec.filesystem("memory")
    if memory.exists("/stored"):
        memory.rm("/stored", recursive=True)


def rows(storage: Storage, folder: str) -> list[int]:
    return [row["step"] for row in read_history(storage, folder)]


def test_what_is_put_can_be_got_in_one_and_in_pieces(storage: Storage) -> None:
    storage.put("a/b/file", b"0123456789")
    assert storage.get("a/b/file") == b"0123456789"
    assert list(storage.read_pieces("a/b/file", 4)) == [b"0123", b"4567", b"89"]
    assert storage.local_path("a/b/file").read_bytes() == b"0123456789"


def test_file_is_not_there_until_it_is_whole(storage: Storage) -> None:
    with storage.writing("a/file") as file:
        file.write(b"half")
        assert storage.list("a") == []
        with pytest.raises(NotFound):
            storage.get("a/file")
    assert storage.list("a") == ["file"]


def test_file_whose_writing_fails_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with storage.writing("a/file") as file:
            file.write(b"half")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_half_way()
    assert storage.list("a") == []
    assert [path for path in (tmp_path / "stored").rglob("*") if path.is_file()] == []


def test_file_written_again_is_replaced_as_a_whole(storage: Storage) -> None:
    storage.put("file", b"first")
    with storage.writing("file") as file:
        file.write(b"2nd")
        assert storage.get("file") == b"first"
    assert storage.get("file") == b"2nd"


def test_published_folder_appears_with_all_its_files(storage: Storage) -> None:
    draft = storage.draft_folder()
    draft.mkdir()
    for name in ("weights", "manifest"):
        (draft / name).write_text(name)
    assert storage.list("jobs/1") == []
    storage.publish_folder(draft, "jobs/1/checkpoint")
    assert storage.list("jobs/1") == ["checkpoint"]
    assert storage.list("jobs/1/checkpoint") == ["manifest", "weights"]
    assert (storage.local_path("jobs/1/checkpoint") / "weights").read_text() == "weights"
    assert not draft.exists()


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    for ask in (storage.get, storage.local_path, lambda path: list(storage.read_pieces(path))):
        with pytest.raises(NotFound, match="a/nothing is no longer stored"):
            ask("a/nothing")
    assert storage.list("a") == []


def test_deleting_takes_a_folder_whole_and_does_not_mind_a_second_time(storage: Storage) -> None:
    storage.put("jobs/1/a/x", b"1")
    storage.put("jobs/1/y", b"2")
    storage.put("jobs/10/z", b"3")
    storage.delete("jobs/1")
    storage.delete("jobs/1")
    assert storage.list("jobs") == ["10"]
    assert storage.get("jobs/10/z") == b"3"


def test_history_is_readable_after_each_flush_and_not_before(storage: Storage) -> None:
    history = History(storage, "m", 1)
    history.add({"step": 1})
    assert rows(storage, "m") == []
    history.flush()
    assert rows(storage, "m") == [1]
    history.add({"step": 2})
    history.flush()
    assert rows(storage, "m") == [1, 2]


def test_full_segment_of_a_history_is_written_no_more(storage: Storage) -> None:
    history = History(storage, "m", 3)
    steps = range(History.SEGMENT_ROWS + 5)
    for step in steps:
        history.add({"step": step})
        if step % 1000 == 999:
            history.flush()
    full = storage.get("m/00000003-00000000.jsonl")
    history.flush()
    assert storage.list("m") == ["00000003-00000000.jsonl", "00000003-00000001.jsonl"]
    assert storage.get("m/00000003-00000000.jsonl") == full
    assert rows(storage, "m") == list(steps)


def test_history_of_all_epochs_is_read_in_their_order(storage: Storage) -> None:
    for epoch in (10, 2, 9):
        history = History(storage, "m", epoch)
        history.add({"step": epoch})
        history.flush()
    assert rows(storage, "m") == [2, 9, 10]


@pytest.mark.parametrize(
    ("told", "curve"),
    [
        ([], []),
        ([(1, 1), (1, 2)], [(1, 1), (1, 2)]),
        ([(1, 1), (1, 2), (1, 3), (2, 2), (2, 3)], [(1, 1), (2, 2), (2, 3)]),
        ([(1, 5), (2, 3), (3, 1), (3, 2)], [(3, 1), (3, 2)]),
        ([(1, 1), (1, 2), (3, 7)], [(1, 1), (1, 2), (3, 7)]),
    ],
)
def test_later_epoch_supersedes_what_came_past_its_first_step(
    told: list[tuple[int, int]], curve: list[tuple[int, int]]
) -> None:
    def row(key: tuple[int, int]) -> dict[str, Any]:
        return {"epoch": key[0], "step": key[1]}

    assert merged(map(row, told)) == list(map(row, curve))
