"""Loaded models, the recently used ones kept within a budget of bytes. Knows no request."""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from rnncore.checkpoint import load_checkpoint, restore_network
from rnncore.manifest import TO_ANSWER, Manifest
from rnncore.stepper import Precision, Stepper
from rnncore.tasks.table import make_stepper
from services.metrics import sampler as declared
from services.metrics.registry import counter, gauge, histogram
from services.storage import Storage

BUDGET_BYTES = 1 << 30


class LoadedModel(NamedTuple):
    """A model ready to answer; one that writes symbol after symbol has a stepper."""

    manifest: Manifest
    network: Any
    stepper: Stepper | None
    num_bytes: int


class ModelCache:
    """Checkpoint path -> LoadedModel. A checkpoint never changes under its path, so nothing here grows stale."""

    def __init__(
        self,
        storage: Storage,
        secret: bytes,
        registry: CollectorRegistry,
        *,
        precision: Precision = "fp32",
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        self._storage = storage
        self._secret = secret
        self._precision = precision
        self._budget = budget_bytes
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, Future[LoadedModel]] = {}
        self._lock = threading.Lock()
        self._hits = counter(declared.MODEL_CACHE_HITS, registry)
        self._misses = counter(declared.MODEL_CACHE_MISSES, registry)
        self._evictions = counter(declared.MODEL_CACHE_EVICTIONS, registry)
        self._seconds = histogram(declared.MODEL_LOAD, registry)
        gauge(declared.MODEL_CACHE_SIZE, registry).set_function(self._num_bytes)
        gauge(declared.MODEL_CACHE_MODELS, registry).set_function(lambda: len(self._models))

    def loaded(self, path: str) -> LoadedModel | None:
        """The model stored at `path` if it is here already."""
        with self._lock:
            model = self._models.get(path)
            if model is not None:
                self._hits.inc()
                self._models.move_to_end(path)
            return model

    def get(self, path: str) -> LoadedModel:
        """The model stored at `path`; however many ask at once, it is loaded once.

        Raises NotFound, CorruptCheckpoint, or Unavailable where the storage is.

        Takes as long as loading does: call it from a thread that nobody else waits for.
        """
        if model := self.loaded(path):
            return model
        self._misses.inc()
        with self._lock:
            loading = self._loading.get(path)
            is_ours = loading is None
            if loading is None:
                loading = self._loading[path] = Future()
        if is_ours:
            try:
                with self._seconds.time():
                    model = self._load(path)
                self._keep(path, model)
                loading.set_result(model)
            except BaseException as error:
                loading.set_exception(error)
            finally:
                with self._lock:
                    del self._loading[path]
        return loading.result()

    def _keep(self, path: str, model: LoadedModel) -> None:
        with self._lock:
            self._models[path] = model
            while len(self._models) > 1 and self._num_bytes() > self._budget:
                self._models.popitem(last=False)
                self._evictions.inc()

    def _num_bytes(self) -> int:
        return sum(model.num_bytes for model in list(self._models.values()))

    def _load(self, path: str) -> LoadedModel:
        with self._storage.reading(path, *TO_ANSWER) as folder:
            snapshot = load_checkpoint(folder, self._secret, weights_only=True)
        num_bytes = sum(tensor.nbytes for tensor in snapshot.weights.values())
        network = restore_network(snapshot)
        stepper = make_stepper(snapshot.manifest.task, network, precision=self._precision)
        if stepper is not None:
            num_bytes += stepper.num_bytes
        return LoadedModel(snapshot.manifest, network, stepper, num_bytes)
