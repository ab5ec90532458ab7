"""Files of a storage elsewhere, kept on this machine while they are used and as long as there is room.

The processes of a machine share one folder. A copy in use is locked; the one that nobody used for longest goes first.
Knows no storage: whoever asks says how a file is fetched. What is stored under a name never changes.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_DRAFTS = "drafts"
# A draft that nobody has written to for so long belongs to a process that is no more.
_DRAFT_SECONDS = 24 * 3600

Fetch = Callable[[str, Path], None]


class LocalCopies:
    """A folder of at most `most_bytes`, copies in use not counted out."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self._most_bytes = most_bytes

    def draft(self) -> Path:
        """A new path, not yet existing, for something that is to be sent off."""
        parent = self.folder / _DRAFTS
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return parent / secrets.token_hex(8)

    @contextmanager
    def holding(self, names: list[str], fetch: Fetch) -> Iterator[None]:
        """While the block lasts, the files `names` lie under `folder`; `fetch(name, path)` brings one that does not."""
        with ExitStack() as stack:
            for name in names:
                stack.callback(os.close, self._held(name, fetch))
            yield

    def _held(self, name: str, fetch: Fetch) -> int:
        """The copy, open and locked against eviction until it is closed."""
        while True:
            try:
                handle = os.open(self.folder / name, os.O_RDONLY)
            except FileNotFoundError:
                self._bring(name, fetch)
                continue
            fcntl.flock(handle, fcntl.LOCK_SH)
            if os.fstat(handle).st_nlink:
                os.utime(handle)
                return handle
            os.close(handle)  # evicted between the two calls

    def _bring(self, name: str, fetch: Fetch) -> None:
        draft, path = self.draft(), self.folder / name
        try:
            fetch(name, draft)
            with draft.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut could leave an empty file under the name of a whole one
                self._evict(os.fstat(file.fileno()).st_size)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError, FileNotFoundError):  # another process was quicker, or took the folder away
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def _evict(self, coming_bytes: int) -> None:
        """Makes room for `coming_bytes`."""
        kept = sorted(self._files())
        excess = sum(num_bytes for _, num_bytes, _ in kept) + coming_bytes - self._most_bytes
        for _, num_bytes, path in kept:
            if excess <= 0:
                return
            if _removed_unless_in_use(path):
                excess -= num_bytes
                with suppress(OSError):
                    path.parent.rmdir()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When it was used, how large it is and where it lies, of every copy and of drafts that were left behind."""
        oldest_draft = time.time() - _DRAFT_SECONDS
        for parent, _, names in os.walk(self.folder):
            is_draft = Path(parent).is_relative_to(self.folder / _DRAFTS)
            for name in names:
                path = Path(parent, name)
                with suppress(FileNotFoundError):
                    found = path.stat()
                    if not is_draft or found.st_mtime < oldest_draft:
                        yield found.st_mtime, found.st_size, path


def _removed_unless_in_use(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
