"""Storage, on a local folder and on S3; and the history kept in it."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from rnncore.errors import NotFound, Unavailable
from services.storage import History, Storage, merged, read_history
from tests.s3_server import S3Server


def rows(storage: Storage, folder: str) -> list[int]:
    return [row["step"] for row in read_history(storage, folder)]


def test_what_is_put_can_be_got_in_one_and_in_pieces(storage: Storage) -> None:
    storage.put("a/b/file", b"0123456789")
    assert storage.get("a/b/file") == b"0123456789"
    assert list(storage.read_pieces("a/b/file", 4)) == [b"0123", b"4567", b"89"]
    assert storage.get("a/b/file", most_bytes=3) == b"012"
    assert storage.get("a/b/file", most_bytes=30) == b"0123456789"
    with storage.reading("a/b/file") as path:
        assert path.read_bytes() == b"0123456789"


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
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "s3"] == []


def test_file_written_again_is_replaced_as_a_whole(storage: Storage) -> None:
    storage.put("file", b"first")
    with storage.writing("file") as file:
        file.write(b"2nd")
        assert storage.get("file") == b"first"
    assert storage.get("file") == b"2nd"


def published(storage: Storage, path: str, *names: str, last: str) -> None:
    draft = storage.draft_folder()
    draft.mkdir()
    for name in names:
        (draft / name).write_text(name)
    storage.publish_folder(draft, path, last=last)
    assert not draft.exists()


def test_published_folder_appears_with_all_its_files(storage: Storage) -> None:
    assert storage.list("jobs/1") == []
    published(storage, "jobs/1/checkpoint", "weights", "manifest", last="manifest")
    assert storage.list("jobs/1") == ["checkpoint"]
    assert storage.list("jobs/1/checkpoint") == ["manifest", "weights"]
    with storage.reading("jobs/1/checkpoint", "weights", "manifest") as folder:
        assert (folder / "weights").read_text() == "weights"
        assert (folder / "manifest").read_text() == "manifest"


def test_writer_that_ends_in_between_has_published_no_manifest(on_s3: Storage) -> None:
    draft = on_s3.draft_folder()
    draft.mkdir()
    (draft / "a-manifest").write_text("manifest")
    (draft / "b-weights").write_text("weights")
    (draft / "c-training").symlink_to("nowhere")
    with pytest.raises(Unavailable):
        on_s3.publish_folder(draft, "checkpoint", last="a-manifest")
    assert on_s3.list("checkpoint") == ["b-weights"]
    (draft / "c-training").unlink()
    (draft / "c-training").write_text("training")
    on_s3.publish_folder(draft, "checkpoint", last="a-manifest")
    assert on_s3.list("checkpoint") == ["a-manifest", "b-weights", "c-training"]


def test_every_file_is_listed_with_its_size_and_when_it_was_written(storage: Storage) -> None:
    assert list(storage.files()) == []
    storage.put("a/b/1", b"123")
    storage.put("c", b"12345")
    found = {file.path: file for file in storage.files()}
    assert {path: file.num_bytes for path, file in found.items()} == {"a/b/1": 3, "c": 5}
    assert all(abs(file.modified_at - time.time()) < 100 for file in found.values())


def test_what_another_process_wrote_is_seen_at_once(on_s3: Storage, s3: S3Server) -> None:
    on_s3.put("a/1", b"1")
    assert on_s3.list("a") == ["1"]
    url = on_s3.url.replace("s3:/", s3.environment["AWS_ENDPOINT_URL"])
    assert httpx.put(f"{url}/a/2", content=b"2").status_code == 200
    assert on_s3.list("a") == ["1", "2"]
    assert on_s3.get("a/2") == b"2"


def test_copies_outlive_what_they_are_of_and_stay_within_their_bytes(on_s3: Storage, tmp_path: Path) -> None:
    for number in range(5):
        on_s3.put(f"blobs/{number}", bytes(400))
        with on_s3.reading(f"blobs/{number}") as path:
            assert path.stat().st_size == 400
    assert sorted(path.name for path in (tmp_path / "cache" / "blobs").iterdir()) == ["3", "4"]
    on_s3.delete("blobs")
    with on_s3.reading("blobs/4") as path:
        assert path.stat().st_size == 400
    with pytest.raises(NotFound), on_s3.reading("blobs/2"):
        pass


def test_storage_that_is_away_is_told_as_that_and_found_again(on_s3: Storage, s3: S3Server) -> None:
    on_s3.put("a", b"1")
    s3.line.cut()
    try:
        for ask in (
            lambda: on_s3.put("b", b"2"),
            lambda: on_s3.get("a"),
            lambda: on_s3.list(""),
            lambda: on_s3.read_pieces("a"),
            lambda: on_s3.reading("a").__enter__(),
            lambda: on_s3.delete("a"),
        ):
            with pytest.raises(Unavailable, match="does not answer"):
                ask()
        on_s3.discard("a")
    finally:
        s3.line.mend()
    assert on_s3.get("a") == b"1"
    assert on_s3.list("") == ["a"]


def test_bucket_that_is_not_there_is_no_empty_storage(on_s3: Storage, tmp_path: Path) -> None:
    elsewhere = Storage("s3://no-such-bucket/x", cache=tmp_path, cache_bytes=1000)
    with pytest.raises(Unavailable):
        elsewhere.put("a", b"1")


def test_storage_elsewhere_needs_a_cache_here() -> None:
    with pytest.raises(ValueError, match="name a cache folder"):
        Storage("memory://stored")


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    for ask in (storage.get, lambda path: storage.reading(path).__enter__(), storage.read_pieces):
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
