"""Metrics that each sampler tells of itself; a front of Ray Serve tells its replicas', labelled `replica`."""

from functools import partial

from services.metrics.declared import MOMENTS, SECONDS, Metric

_gauge = partial(Metric, kind="gauge", teller="sampler")
_counter = partial(Metric, kind="counter", teller="sampler")
_histogram = partial(Metric, kind="histogram", teller="sampler")

SAMPLE_REQUESTS = _counter(
    "unroll_sample_requests_total",
    help="Completions, predictions and inspections, by outcome and whether they were streamed.",
    labels=("outcome", "stream"),
)
SAMPLE_TIME_TO_FIRST_TOKEN = _histogram(
    "unroll_sample_time_to_first_token_seconds",
    help="Seconds from a completion request to its first symbol, the loading of the model included.",
    buckets=SECONDS,
)
SAMPLE_TOKEN_INTERVAL = _histogram(
    "unroll_sample_token_interval_seconds",
    help="Mean seconds between two symbols of a completion, once for each.",
    buckets=MOMENTS,
)
SAMPLE_TOKENS = _counter("unroll_sample_tokens_total", help="Symbols written.")
SAMPLE_BATCH_SIZE = _histogram(
    "unroll_sample_batch_size",
    help="Texts written side by side, once for each turn of a model.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
SAMPLE_TEXTS = _gauge(
    "unroll_sample_texts",
    help="Texts in work: those that are being written, and those whose prompt is read or that wait.",
    labels=("state",),
)
MODEL_CACHE_HITS = _counter("unroll_model_cache_hits_total", help="Requests that found their model loaded.")
MODEL_CACHE_MISSES = _counter("unroll_model_cache_misses_total", help="Requests that had to wait for their model.")
MODEL_CACHE_EVICTIONS = _counter("unroll_model_cache_evictions_total", help="Models dropped for others.")
MODEL_CACHE_SIZE = _gauge("unroll_model_cache_bytes", help="Bytes of the loaded models.")
MODEL_CACHE_MODELS = _gauge("unroll_model_cache_models", help="Loaded models.")
MODEL_LOAD = _histogram("unroll_model_load_seconds", help="Seconds to load a model.", buckets=SECONDS)
PREFIX_CACHE_HITS = _counter("unroll_prefix_cache_hits_total", help="Prompts whose beginning was read before.")
PREFIX_CACHE_MISSES = _counter("unroll_prefix_cache_misses_total", help="Prompts that were read from the start.")
PREFIX_CACHE_SIZE = _gauge("unroll_prefix_cache_bytes", help="Bytes of the states kept behind beginnings of prompts.")
SAMPLER_REPLICAS = _gauge(
    "unroll_sampler_replicas", help="Replicas of Ray Serve that tell their metrics; told by a front alone."
)
