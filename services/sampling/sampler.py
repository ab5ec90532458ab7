"""The sampler: models, the batcher that writes texts with them, threads for what else they answer. Knows no HTTP."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from rnncore.errors import Overloaded, TooManyRequests
from rnncore.export import to_onnx
from rnncore.inspection import Inspection
from rnncore.products import require_precision
from services.sampling.answers import inspection, predictions
from services.sampling.batcher import Batcher
from services.sampling.completion import CompletionAnswer
from services.sampling.handles import StateHandles
from services.sampling.meters import Meters
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
        self._meters = Meters()
        self.registry = self._meters.registry
        self._loop = asyncio.get_running_loop()
        self._cache = ModelCache(
            Storage.of(settings), settings.secret, self.registry, precision=settings.sampler_precision
        )
        self._handles = StateHandles(settings.secret, lifetime_seconds=settings.state_seconds)
        self._answers: dict[Row, CompletionAnswer] = {}
        self._batcher = Batcher(self._announce, observe_batch=self._meters.observe_batch)
        self._meters.watch(self._batcher)
        self._places = threading.Semaphore(_WHOLE_AT_ONCE)

    def close(self) -> None:
        """Ends the batcher; what it was writing fails."""
        self._batcher.close()

    async def open(self, command: SampleCommand) -> CompletionAnswer:
        """Begins an answer. Raises what `faults` knows to say; call `close_answer` once it is over."""
        asked_at = time.perf_counter()
        try:
            model = self._cache.loaded(command.checkpoint)
            if model is None:
                model = await run_in_threadpool(self._cache.get, command.checkpoint)
            answer = CompletionAnswer(command, model, self._handles, asked_at=asked_at)
            self._answers.update(dict.fromkeys(answer.rows, answer))
            try:
                answer.submit(self._batcher)
            except BaseException:
                self._forget(answer)
                raise
        except BaseException as error:
            is_full = isinstance(error, Overloaded | TooManyRequests)
            self._meters.count("overloaded" if is_full else "refused", is_stream=command.request.stream)
            raise
        return answer

    def close_answer(self, answer: CompletionAnswer) -> None:
        """The answer is over, whole or not; what is still being written of it is given up."""
        self._batcher.cancel([row for row in answer.rows if not row.has_ended])
        self._forget(answer)
        self._meters.count(answer.outcome, is_stream=answer.is_stream)
        self._meters.written(answer)

    async def whole(self, command: SampleCommand) -> bytes:
        """The completion object. Raises what `faults` knows to say."""
        answer = await self.open(command)
        try:
            return await answer.whole()
        finally:
            self.close_answer(answer)

    async def chunks(self, answer: CompletionAnswer) -> AsyncIterator[bytes]:
        """The frames of an opened answer. Raises what ends it early."""
        async for frames in answer.chunks():
            yield frames

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
            self._meters.count("overloaded", is_stream=False)
            raise Overloaded(f"{_WHOLE_AT_ONCE} requests are being answered, the most at once; try again in a moment")
        outcome = "refused"
        try:
            whole = await run_in_threadpool(lambda: answer(self._cache.get(checkpoint)))
            outcome = "ok"
        finally:
            self._places.release()
            self._meters.count(outcome, is_stream=False)
        return whole

    def _announce(self, rows: list[Row]) -> None:
        self._loop.call_soon_threadsafe(self._wake, rows)

    def _wake(self, rows: list[Row]) -> None:
        for answer in {self._answers[row] for row in rows if row in self._answers}:
            answer.wake()

    def _forget(self, answer: CompletionAnswer) -> None:
        for row in answer.rows:
            self._answers.pop(row, None)
