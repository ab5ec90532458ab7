"""How models answer: how much is asked, how soon it is answered, and what is kept loaded for it."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.boards.parts import Lines, Query, Section, board, quantiles


def sampling() -> Dashboard:
    return board(
        "unroll-sampling",
        "Unroll: sampling",
        "Completions and predictions: numbers, times, batches, caches.",
        [
            Section("Requests", _REQUESTS),
            Section("Times", _TIMES),
            Section("Batches", _BATCHES),
            Section("Caches", _CACHES),
        ],
    )


def _rate(metric: str) -> str:
    return f"sum(rate({metric}[$__rate_interval]))"


_REQUESTS = [
    Lines(
        "Requests by outcome",
        "A second. left: the client went away. overloaded: turned away, to be asked again.",
        [Query("sum by (outcome) (rate(unroll_sample_requests_total[$__rate_interval]))", "{{outcome}}")],
        is_stacked=True,
    ),
    Lines(
        "Streamed or whole",
        "Requests a second.",
        [Query("sum by (stream) (rate(unroll_sample_requests_total[$__rate_interval]))", "stream {{stream}}")],
    ),
    Lines("Symbols", "Written a second.", [Query(_rate("unroll_sample_tokens_total"), "symbols")]),
]

_TIMES = [
    Lines(
        "To the first symbol",
        "Seconds from the request, the loading of the model included.",
        quantiles("unroll_sample_time_to_first_token_seconds", qs=(0.5, 0.95, 0.99)),
        unit="s",
        is_log=True,
    ),
    Lines(
        "Between two symbols",
        "Mean seconds within a completion.",
        quantiles("unroll_sample_token_interval_seconds"),
        unit="s",
        is_log=True,
    ),
    Lines(
        "At the app",
        "Seconds from the request for a completion to its end, or to the beginning of its stream.",
        [
            Query(
                "histogram_quantile(0.95, sum by (le) (rate(unroll_http_request_duration_seconds_bucket"
                '{route="/v1/completions"}[$__rate_interval])))',
                "p95",
            )
        ],
        unit="s",
    ),
]

_BATCHES = [
    Lines(
        "Texts side by side",
        "Written in one step of a model.",
        [
            *quantiles("unroll_sample_batch_size"),
            Query(f"{_rate('unroll_sample_batch_size_sum')} / {_rate('unroll_sample_batch_size_count')}", "mean"),
        ],
    ),
    Lines(
        "Texts in work",
        "Those that are written, and those whose prompt is read or that wait.",
        [Query("sum by (state) (unroll_sample_texts)", "{{state}}")],
        is_stacked=True,
    ),
    Lines(
        "Turned away",
        "Share of the requests.",
        [Query("unroll:sample_requests:overload_ratio_rate5m", "overloaded")],
        unit="percentunit",
    ),
]

_CACHES = [
    Lines(
        "Loaded models",
        "Bytes, and how many.",
        [
            Query("sum(unroll_model_cache_bytes)", "bytes"),
            Query("sum(unroll_model_cache_models)", "models"),
        ],
        is_log=True,
    ),
    Lines(
        "Model cache",
        "Requests a second that found their model loaded, that had to wait for it, and models dropped for others.",
        [
            Query(_rate("unroll_model_cache_hits_total"), "found"),
            Query(_rate("unroll_model_cache_misses_total"), "loaded"),
            Query(_rate("unroll_model_cache_evictions_total"), "dropped"),
        ],
    ),
    Lines(
        "Requests that found their model",
        "Share of all within five minutes.",
        [Query("unroll:model_cache:hit_ratio_rate5m", "found")],
        unit="percentunit",
        most=1,
    ),
    Lines("Time to load a model", "Seconds.", quantiles("unroll_model_load_seconds"), unit="s"),
    Lines(
        "Beginnings of prompts",
        "Prompts a second whose beginning was read before, and others.",
        [
            Query(_rate("unroll_prefix_cache_hits_total"), "known"),
            Query(_rate("unroll_prefix_cache_misses_total"), "new"),
        ],
    ),
    Lines(
        "States kept for them",
        "Bytes.",
        [Query("sum(unroll_prefix_cache_bytes)", "bytes")],
        unit="bytes",
    ),
]
