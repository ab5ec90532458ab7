"""What the sampler counts of its answers and its batcher. Knows no request."""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from services.metrics import sampler as declared
from services.metrics.registry import counter, family, gauge, histogram, process_registry
from services.sampling.batcher import Batcher
from services.sampling.completion import CompletionAnswer
from services.sampling.prefixes import PrefixCache


class Meters:
    """The registry of a sampler, and what it is told."""

    def __init__(self) -> None:
        self.registry = process_registry()
        self._requests = counter(declared.SAMPLE_REQUESTS, self.registry)
        self._tokens = counter(declared.SAMPLE_TOKENS, self.registry)
        self._first = histogram(declared.SAMPLE_TIME_TO_FIRST_TOKEN, self.registry)
        self._interval = histogram(declared.SAMPLE_TOKEN_INTERVAL, self.registry)
        self._texts = gauge(declared.SAMPLE_TEXTS, self.registry)
        self.observe_batch: Callable[[int], None] = histogram(declared.SAMPLE_BATCH_SIZE, self.registry).observe

    def watch(self, batcher: Batcher) -> None:
        """Has the state of the batcher told at each scrape."""
        self._texts.labels("writing").set_function(lambda: batcher.num_writing)
        self._texts.labels("waiting").set_function(lambda: max(0, batcher.num_rows - batcher.num_writing))
        self.registry.register(_Prefixes(batcher.prefixes))

    def count(self, outcome: str, *, is_stream: bool) -> None:
        """A request came to its end."""
        self._requests.labels(outcome, "true" if is_stream else "false").inc()

    def written(self, answer: CompletionAnswer) -> None:
        """An answer is over, whole or not."""
        self._tokens.inc(answer.num_written)
        if answer.first_token_at is None:
            return
        self._first.observe(answer.first_token_at - answer.asked_at)
        if answer.num_written_of_longest > 1:
            seconds = time.perf_counter() - answer.first_token_at
            self._interval.observe(seconds / (answer.num_written_of_longest - 1))


class _Prefixes(Collector):
    """Tells what the cache of prefixes counts itself."""

    def __init__(self, prefixes: PrefixCache) -> None:
        self._prefixes = prefixes

    def describe(self) -> Iterable[Family]:
        return self.collect()

    def collect(self) -> Iterator[Family]:
        yield family(declared.PREFIX_CACHE_HITS, [((), self._prefixes.num_hits)])
        yield family(declared.PREFIX_CACHE_MISSES, [((), self._prefixes.num_misses)])
        yield family(declared.PREFIX_CACHE_SIZE, [((), self._prefixes.num_bytes)])
