"""The disk that an app writes to, measured at each scrape. Knows no files."""

import logging
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from services.metrics.registry import family
from services.metrics.web import STORAGE_FREE, STORAGE_RESERVE

log = logging.getLogger(__name__)


class StorageCollector(Collector):
    """Tells `free_bytes` beside the reserve that is to be left."""

    def __init__(self, free_bytes: Callable[[], int], reserve_bytes: int) -> None:
        self._free_bytes = free_bytes
        self._reserve_bytes = reserve_bytes

    def describe(self) -> Iterable[Family]:
        """None: registration measures nothing."""
        return ()

    def collect(self) -> Iterator[Family]:
        try:
            yield family(STORAGE_FREE, [((), self._free_bytes())])
        except OSError as error:  # the other series are worth their scrape all the same
            log.warning("the disk of the storage cannot be measured: %s", error)
        yield family(STORAGE_RESERVE, [((), self._reserve_bytes)])
