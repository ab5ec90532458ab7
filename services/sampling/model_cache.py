"""Loaded models, the recently used ones kept within a budget of bytes. Knows no request."""

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from rnncore.checkpoint import load_checkpoint, restore_network
from rnncore.manifest import Manifest
from services.storage import Storage

BUDGET_BYTES = 1 << 30


class LoadedModel(NamedTuple):
    """A model ready to answer."""

    manifest: Manifest
    network: Any
    num_bytes: int


class ModelCache:
    """Checkpoint path -> LoadedModel. A checkpoint never changes under its path, so nothing here grows stale."""

    def __init__(self, storage: Storage, secret: bytes, registry: CollectorRegistry) -> None:
        self._storage = storage
        self._secret = secret
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()
        self._hits = Counter("unroll_model_cache_hits", "Requests that found their model loaded.", registry=registry)
        self._misses = Counter("unroll_model_cache_misses", "Requests that had to load it.", registry=registry)
        self._evictions = Counter("unroll_model_cache_evictions", "Models dropped for others.", registry=registry)
        self._seconds = Histogram("unroll_model_load_seconds", "Time to load a model.", registry=registry)

    def get(self, path: str) -> LoadedModel:
        """The model stored at `path`. Raises NotFound or CorruptCheckpoint."""
        with self._lock:
            if path in self._models:
                self._hits.inc()
                self._models.move_to_end(path)
                return self._models[path]
        self._misses.inc()
        with self._seconds.time():
            model = self._load(path)
        with self._lock:
            self._models[path] = model
            while len(self._models) > 1 and sum(m.num_bytes for m in self._models.values()) > BUDGET_BYTES:
                self._models.popitem(last=False)
                self._evictions.inc()
        return model

    def _load(self, path: str) -> LoadedModel:
        snapshot = load_checkpoint(self._storage.local_path(path), self._secret, weights_only=True)
        num_bytes = sum(tensor.nbytes for tensor in snapshot.weights.values())
        return LoadedModel(snapshot.manifest, restore_network(snapshot), num_bytes)
