"""Pages that are read once, however many tests ask what came of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.pages import page
from tests.docs.reader import Reader
from tests.running_service import Service

# A page to its end: the reader, and what each of its steps printed.
Read = tuple[Reader, list[str]]
# Pages of which more is asked than that their commands run are read by the files that ask. All others: test_pages.py.
READ_BY = {
    "docs/how-to/operations.md": "test_operations_page.py",
    "docs/how-to/tasks.md": "test_tasks_page.py",
    "README.md": "test_what_pages_print.py",
    "docs/how-to/openai.md": "test_what_pages_print.py",
    "docs/how-to/sampling.md": "test_what_pages_print.py",
    "docs/how-to/sweeps.md": "test_what_pages_print.py",
}


def check_whole(read: Callable[[str], Read], name: str) -> None:
    """Fails unless every command of the page was run."""
    reader, printed = read(name)
    assert reader.left == []
    assert len(printed) == len(page(name).steps)


@pytest.fixture(scope="session")
def read(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Read]]:
    """`read("docs/how-to/tasks.md")`: everything the page says, done on the service that all pages share."""
    outcomes: dict[str, Read | AssertionError] = {}
    with ExitStack() as readers:

        def read(name: str) -> Read:
            if name not in outcomes:
                reader = readers.enter_context(Reader(page(name), service, tmp_path_factory.mktemp("page")))
                try:
                    outcomes[name] = reader, reader.follow()
                except AssertionError as error:
                    outcomes[name] = error
            outcome = outcomes[name]
            if isinstance(outcome, AssertionError):
                raise outcome
            return outcome

        yield read


@pytest.fixture
def reader_of(service: Service, tmp_path: Path) -> Iterator[Callable[[str], Reader]]:
    """A reader who has done nothing yet: for a page that is looked at in between."""
    with ExitStack() as readers:
        yield lambda name: readers.enter_context(Reader(page(name), service, tmp_path))
