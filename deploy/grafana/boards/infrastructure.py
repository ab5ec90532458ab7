"""What all of it runs on: HTTP, workers, Redis, disks, processes, and Prometheus itself."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.boards.parts import Lines, Query, Section, board, quantiles

_OURS = 'job=~"app|sampler|dispatcher"'


def infrastructure() -> Dashboard:
    sections = [
        Section("HTTP", _HTTP),
        Section("Workers", _WORKERS),
        Section("Redis", _REDIS),
        Section("Storage", _STORAGE),
        Section("Processes", _PROCESSES),
    ]
    return board("unroll-infrastructure", "Unroll: infrastructure", "What the service runs on.", sections)


_HTTP = [
    Lines(
        "Requests by route",
        "A second, the ten most asked.",
        [Query("topk(10, sum by (route) (rate(unroll_http_requests_total[$__rate_interval])))", "{{route}}")],
    ),
    Lines(
        "Time to answer by route",
        "Seconds, 95 of 100 are quicker; the ten slowest.",
        [
            Query(
                "topk(10, histogram_quantile(0.95, sum by (le, route) "
                "(rate(unroll_http_request_duration_seconds_bucket[$__rate_interval]))))",
                "{{route}}",
            )
        ],
        unit="s",
        is_log=True,
    ),
    Lines(
        "In progress",
        "Requests that are being answered, streams included.",
        [Query("sum(unroll_http_requests_in_progress)", "requests")],
    ),
]

_WORKERS = [
    Lines(
        "Places for trainers",
        "By what they do.",
        [Query("max by (state) (unroll_trainers)", "{{state}}")],
        is_stacked=True,
    ),
    Lines(
        "Workers",
        "That there are, that running jobs have, and that the autoscaler was asked for.",
        [
            Query("max by (kind) (unroll_seats)", "{{kind}}"),
            Query("max(unroll_workers_at_work)", "at work"),
            Query("max by (kind) (unroll_workers_wanted)", "{{kind}} wanted"),
        ],
    ),
    Lines("Nodes", "Ray nodes with places for trainers.", [Query("max(unroll_nodes)", "nodes")]),
    Lines(
        "Placed",
        "Jobs a minute, on a warm trainer or in processes made for them.",
        [Query("60 * sum by (start) (rate(unroll_dispatcher_claims_total[$__rate_interval]))", "{{start}}")],
    ),
    Lines(
        "Gangs and shares",
        "Processes made for one job, and the workers of gangs.",
        [
            Query("max by (kind) (unroll_guests)", "{{kind}}"),
            Query("max(unroll_gang_workers)", "workers of gangs"),
        ],
    ),
    Lines(
        "Trainers that died",
        "Within five minutes.",
        [Query("sum(increase(unroll_trainer_deaths_total[5m]))", "died")],
    ),
    Lines(
        "Round of the dispatcher",
        "Seconds, without the wait for news.",
        quantiles("unroll_dispatcher_round_duration_seconds"),
        unit="s",
    ),
    Lines(
        "Since its last round",
        "Seconds.",
        [Query("time() - max(unroll_dispatcher_last_round_timestamp_seconds)", "ago")],
        unit="s",
    ),
    Lines(
        "Rounds that failed",
        "Within five minutes, by who did not answer.",
        [Query("sum by (source) (increase(unroll_dispatcher_faults_total[5m]))", "{{source}}")],
    ),
]

_REDIS = [
    Lines(
        "Memory",
        "Share of what Redis may use. Full, it refuses jobs.",
        [Query("unroll:redis_memory:ratio", "used")],
        unit="percentunit",
        most=1,
    ),
    Lines(
        "Commands",
        "A second, those within scripts included.",
        [Query("max(rate(unroll_redis_commands_total[$__rate_interval]))", "commands")],
    ),
    Lines("Connections", "That Redis has.", [Query("max(unroll_redis_clients)", "connections")]),
    Lines(
        "Append-only file",
        "1 where Redis could write it last.",
        [Query("max(unroll_redis_append_only_file_ok)", "written")],
        most=1,
    ),
    Lines("Webhooks", "Messages that are still to be sent.", [Query("max(unroll_webhooks_waiting)", "messages")]),
    Lines(
        "Queue readable", "1 where an app could read the queue.", [Query("max(unroll_queue_up)", "readable")], most=1
    ),
]

_STORAGE = [
    Lines(
        "Disk above the reserve",
        "Bytes that are left before uploads, submissions and checkpoints are refused.",
        [Query("unroll:storage_above_reserve:bytes", "{{instance}}")],
        unit="bytes",
    ),
    Lines(
        "Stored",
        "Bytes of data sets and checkpoints that records refer to.",
        [Query("max(unroll_stored_bytes)", "stored")],
        unit="bytes",
    ),
    Lines(
        "Garbage deleted",
        "Bytes an hour to which no record referred.",
        [Query("sum(increase(unroll_garbage_bytes_total[1h]))", "deleted")],
        unit="bytes",
    ),
]

_PROCESSES = [
    Lines(
        "Processor",
        "Cores that each process keeps busy.",
        [Query(f"sum by (job) (rate(process_cpu_seconds_total{{{_OURS}}}[$__rate_interval]))", "{{job}}")],
    ),
    Lines(
        "Memory of processes",
        "Resident bytes.",
        [Query(f"sum by (job) (process_resident_memory_bytes{{{_OURS}}})", "{{job}}")],
        unit="bytes",
    ),
    Lines(
        "Open files",
        "Sockets included.",
        [Query(f"sum by (job) (process_open_fds{{{_OURS}}})", "{{job}}")],
    ),
    Lines(
        "Up since",
        "Seconds that each process has run.",
        [Query(f"time() - max by (job) (process_start_time_seconds{{{_OURS}}})", "{{job}}")],
        unit="s",
    ),
    Lines(
        "Time of a scrape",
        "Seconds that /metrics takes.",
        [Query(f"max by (job) (scrape_duration_seconds{{{_OURS}}})", "{{job}}")],
        unit="s",
    ),
    Lines(
        "Series of a scrape",
        "Samples that /metrics answers; the app's are fewer than 5,000.",
        [Query(f"max by (job) (scrape_samples_scraped{{{_OURS}}})", "{{job}}")],
    ),
]
