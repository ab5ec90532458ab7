"""Pages that are read once, however many tests ask what came of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import page
from tests.docs.reader import Reader
from tests.running_service import Service

# A page to its end: the reader, and what each of its steps printed.
Read = tuple[Reader, list[str]]


@pytest.fixture(scope="session")
def read(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Read]]:
    """`read("docs/how-to/tasks.md")`: everything the page says, done on the service that all pages share."""
    with ExitStack() as readers:

        @cache
        def read(name: str) -> Read:
            reader = readers.enter_context(Reader(page(name), service, tmp_path_factory.mktemp("page")))
            return reader, reader.follow()

        yield read


@pytest.fixture
def reader_of(service: Service, tmp_path: Path) -> Iterator[Callable[[str], Reader]]:
    """A reader who has done nothing yet: for a page that is looked at in between."""
    with ExitStack() as readers:
        yield lambda name: readers.enter_context(Reader(page(name), service, tmp_path))
