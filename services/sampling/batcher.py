"""In-flight batching: one thread that steps the rows of all models in fair turns, and tells whoever waits for them.

Knows no HTTP and no text; what came of a row is read from the row itself.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import torch

from rnncore.errors import Overloaded, TooManyRequests
from services.sampling.lane import Engine, Lane
from services.sampling.prefixes import PrefixCache
from services.sampling.row import Row

log = logging.getLogger(__name__)

CAPACITY = 512
MAX_WAITING = 4096
MAX_OF_KEY = 1024
_SLICE_SECONDS = 0.008
_NEWS_SECONDS = 0.01
_NEWS_SECONDS_A_ROW = 0.00075
_PREFIX_BYTES = 64 << 20


class Batcher:
    """Rows go in by `submit`; `announce` is called, on the batcher's thread, with rows that have news.

    News of a row that writes is told every 10 ms at most (more rows: every 0.75 ms a row), so that telling
    costs a small share of the writing however many read along. `observe_batch` is told, on that thread too, how many
    texts a model wrote side by side in a turn.
    """

    def __init__(
        self,
        announce: Callable[[list[Row]], None],
        *,
        capacity: int = CAPACITY,
        max_waiting: int = MAX_WAITING,
        max_of_key: int = MAX_OF_KEY,
        prefix_bytes: int = _PREFIX_BYTES,
        observe_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._announce = announce
        self._observe_batch = observe_batch
        self._capacity = capacity
        self._max_waiting = max_waiting
        self._max_of_key = max_of_key
        self.prefixes = PrefixCache(prefix_bytes)
        self._lanes: dict[str, Lane] = {}
        self._rows: dict[str, dict[Row, None]] = {}  # of each lane, siblings included
        self._inbox: list[tuple[Engine, Row]] = []
        self._of_key: Counter[str] = Counter()
        self._called = threading.Condition()
        self._has_call = self._is_closed = False
        self._news: dict[Row, None] = {}
        self._told_at = 0.0
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    @property
    def num_rows(self) -> int:
        """Rows that have not ended."""
        return self._of_key.total()

    @property
    def num_writing(self) -> int:
        return sum(lane.num_writing for lane in list(self._lanes.values()))

    def submit(self, engine: Engine, rows: Sequence[Row]) -> None:
        """Takes the rows of one request, all or none.

        Raises TooManyRequests where their key has too many already, Overloaded where everybody together has.
        """
        with self._called:
            for key, number in Counter(row.key for row in rows).items():
                if self._of_key[key] + number > self._max_of_key:
                    raise TooManyRequests(
                        f"this key has {self._of_key[key]} texts in work; {number} more are over the "
                        f"{self._max_of_key} that one key may have at once",
                        retry_after=1,
                    )
            if self.num_rows + len(rows) > self._max_waiting:
                raise Overloaded(f"{self.num_rows} texts are in work, {self._max_waiting} at most; try again soon")
            self._of_key.update(row.key for row in rows)
            siblings = {sibling for row in rows for sibling in row.siblings}
            self._inbox += [(engine, row) for row in rows if row not in siblings]
            self._call()

    def cancel(self, rows: Sequence[Row]) -> None:
        """Nobody waits for these any more. They leave the batch before its next step."""
        with self._called:
            for row in rows:
                row.is_cancelled = True
            self._call()

    def close(self) -> None:
        """Ends the thread; rows in work are told that they failed."""
        with self._called:
            self._is_closed = True
            self._call()
        self._thread.join()

    def _call(self) -> None:
        self._has_call = True
        self._called.notify()

    def _run(self) -> None:
        torch.set_flush_denormal(True)  # of this thread; once they are denormal, sums take 20 times as long
        with torch.inference_mode():
            self._serve()

    def _serve(self) -> None:
        while not self._is_closed:
            for engine, row in self._take():
                lane = self._lanes.get(engine.parameters)
                if lane is None:
                    lane = self._lanes[engine.parameters] = Lane(engine, self.prefixes, capacity=self._capacity)
                self._rows.setdefault(engine.parameters, {}).update(dict.fromkeys((row, *row.siblings)))
                lane.add(row)
            for parameters, lane in list(self._lanes.items()):
                self._turn(parameters, lane)
            self._tell()
        for parameters in list(self._lanes):
            self._fail(parameters, Overloaded("the sampler is shutting down; ask again"))
        self._tell(at_once=True)

    def _take(self) -> list[tuple[Engine, Row]]:
        """What came in; waits while there is nothing to do."""
        with self._called:
            while not (self._has_call or self._lanes):
                self._called.wait()
            self._has_call = False
            taken, self._inbox = self._inbox, []
        return taken

    def _turn(self, parameters: str, lane: Lane) -> None:
        try:
            turn = lane.turn(_SLICE_SECONDS, lambda: self._has_call)
        except Exception as error:
            log.exception("a model failed while it wrote")
            self._fail(parameters, error)
            return
        self._news.update(dict.fromkeys(turn.news))
        if turn.num_written:
            self._observe_batch(turn.num_written)
        self._forget(parameters, turn.gone)
        if lane.is_idle:
            del self._lanes[parameters], self._rows[parameters]

    def _fail(self, parameters: str, error: Exception) -> None:
        """Whatever a model did wrong ends its own rows, and no others."""
        rows = [row for row in self._rows[parameters] if not row.has_ended]
        for row in rows:
            row.error = error
        self._news.update(dict.fromkeys(rows))
        self._forget(parameters, list(self._rows[parameters]))
        del self._lanes[parameters], self._rows[parameters]

    def _forget(self, parameters: str, gone: Sequence[Row]) -> None:
        for row in gone:
            del self._rows[parameters][row]
        if gone:
            with self._called:
                self._of_key.subtract(row.key for row in gone)
                self._of_key = +self._of_key

    def _tell(self, *, at_once: bool = False) -> None:
        """Announces news: at once of rows that begin or end, of others when it is time."""
        now = time.monotonic()
        is_time = now - self._told_at >= _NEWS_SECONDS + _NEWS_SECONDS_A_ROW * len(self._news)
        if at_once or is_time:
            urgent = list(self._news)
            self._told_at = now
        else:
            urgent = [row for row in self._news if row.has_ended or not row.has_told]
        if not urgent:
            return
        for row in urgent:
            row.has_told = True
            del self._news[row]
        self._announce(urgent)
