"""The sampler: models, the batcher that writes texts with them, threads for what else they answer. Knows no HTTP."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.concurrency import run_in_threadpool

from rnncore.errors import Overloaded, TooManyRequests
from rnncore.export import to_onnx
from rnncore.inspection import Inspection
from rnncore.products import require_precision
from services.sampling.answers import inspection, predictions
from services.sampling.batcher import Batcher
from services.sampling.completion import CompletionAnswer
from services.sampling.handles import StateHandles
from services.sampling.model_cache import LoadedModel, ModelCache
from services.sampling.row import Row
from services.settings import Settings
from services.storage import Storage
from services.wire import ExportCommand, InspectCommand, PredictCommand, Predictions, SampleCommand

log = logging.getLogger(__name__)

_WHOLE_AT_ONCE = 64

T = TypeVar("T")


class Sampler:
    """Answers commands on one event loop, that which runs when it is made."""

    def __init__(self, settings: Settings) -> None:
        require_precision(settings.sampler_precision, "cpu")  # now, and not when the first model is asked
        self.registry = CollectorRegistry()
        self._loop = asyncio.get_running_loop()
        self._cache = ModelCache(
            Storage.of(settings), settings.secret, self.registry, precision=settings.sampler_precision
        )
        self._handles = StateHandles(settings.secret, lifetime_seconds=settings.state_seconds)
        self._answers: dict[Row, CompletionAnswer] = {}
        self._batcher = Batcher(self._announce)
        self._places = threading.Semaphore(_WHOLE_AT_ONCE)
        self._requests = Counter(
            "unroll_sample_requests", "Completions and predictions.", ["outcome", "stream"], registry=self.registry
        )
        self._tokens = Counter("unroll_sample_tokens", "Symbols written.", registry=self.registry)
        self._first = Histogram(
            "unroll_sample_time_to_first_token_seconds", "Request to first symbol.", registry=self.registry
        )
        self._interval = Histogram(
            "unroll_sample_token_interval_seconds", "Mean time between two symbols of a text.", registry=self.registry
        )
        size = Gauge("unroll_sample_batch_size", "Texts that are being written.", registry=self.registry)
        size.set_function(lambda: self._batcher.num_writing)

    def close(self) -> None:
        """Ends the batcher; what it was writing fails."""
        self._batcher.close()

    async def open(self, command: SampleCommand) -> CompletionAnswer:
        """Begins an answer. Raises what `faults` knows to say; call `close_answer` once it is over."""
        try:
            model = self._cache.loaded(command.checkpoint)
            if model is None:
                model = await run_in_threadpool(self._cache.get, command.checkpoint)
            answer = CompletionAnswer(command, model, self._handles)
            self._answers.update(dict.fromkeys(answer.rows, answer))
            try:
                answer.submit(self._batcher)
            except BaseException:
                self._forget(answer)
                raise
        except BaseException as error:
            is_full = isinstance(error, Overloaded | TooManyRequests)
            self._requests.labels("overloaded" if is_full else "refused", command.request.stream).inc()
            raise
        return answer

    def close_answer(self, answer: CompletionAnswer) -> None:
        """The answer is over, whole or not; what is still being written of it is given up."""
        self._batcher.cancel([row for row in answer.rows if not row.has_ended])
        self._forget(answer)
        self._requests.labels(answer.outcome, answer.is_stream).inc()
        self._tokens.inc(answer.num_written)

    async def whole(self, command: SampleCommand) -> bytes:
        """The completion object. Raises what `faults` knows to say."""
        answer = await self.open(command)
        try:
            return await answer.whole()
        finally:
            self.close_answer(answer)

    async def chunks(self, answer: CompletionAnswer) -> AsyncIterator[bytes]:
        """The frames of an opened answer. Raises what ends it early."""
        began_at, first_at = time.perf_counter(), 0.0
        async for frames in answer.chunks():
            if not first_at:
                first_at = time.perf_counter()
                self._first.observe(first_at - began_at)
            yield frames
        if answer.num_written > 1:
            self._interval.observe((time.perf_counter() - first_at) / (answer.num_written - 1))

    async def predict(self, command: PredictCommand) -> Predictions:
        """The predictions, whole. Raises what `faults` knows to say."""
        return await self._on_thread(command.checkpoint, partial(predictions, command))

    async def inspect(self, command: InspectCommand) -> Inspection:
        """What one sees inside. Raises what `faults` knows to say."""
        return await self._on_thread(command.checkpoint, partial(inspection, command.request))

    async def export(self, command: ExportCommand) -> bytes:
        """The model as an ONNX graph. Raises what `faults` knows to say."""
        return await self._on_thread(command.checkpoint, lambda model: to_onnx(model.network, model.manifest))

    async def _on_thread(self, checkpoint: str, answer: Callable[[LoadedModel], T]) -> T:
        """An answer that is computed whole, in one of the places for such."""
        if not self._places.acquire(blocking=False):
            self._requests.labels("overloaded", False).inc()
            raise Overloaded(f"{_WHOLE_AT_ONCE} requests are being answered, the most at once; try again in a moment")
        outcome = "refused"
        try:
            whole = await run_in_threadpool(lambda: answer(self._cache.get(checkpoint)))
            outcome = "ok"
        finally:
            self._places.release()
            self._requests.labels(outcome, False).inc()
        return whole

    def _announce(self, rows: list[Row]) -> None:
        self._loop.call_soon_threadsafe(self._wake, rows)

    def _wake(self, rows: list[Row]) -> None:
        for answer in {self._answers[row] for row in rows if row in self._answers}:
            answer.wake()

    def _forget(self, answer: CompletionAnswer) -> None:
        for row in answer.rows:
            self._answers.pop(row, None)
