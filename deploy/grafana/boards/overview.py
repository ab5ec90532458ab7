"""Whether all is well, on one screen."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.boards.parts import Lines, Query, Section, Stat, board, quantiles


def overview() -> Dashboard:
    return board(
        "unroll-overview",
        "Unroll: overview",
        "Whether jobs start, train and end, and whether models answer.",
        [Section("Now", _NOW, width=3), Section("Jobs", _JOBS), Section("Training and sampling", _WORK)],
    )


_NOW = [
    Stat(
        "Alerts",
        "Alerts that fire; docs/runbooks has a page for each.",
        Query('count(ALERTS{alertstate="firing"}) or vector(0)', "firing"),
        limit=1,
    ),
    Stat(
        "Processes",
        "App, sampler and dispatcher, of those that Prometheus asks.",
        Query('sum(up{job=~"app|sampler|dispatcher"})', "answer"),
        limit=3,
        is_least=True,
    ),
    Stat(
        "Warm trainers",
        "Trainers that are at a job or could start one at once.",
        Query('sum(max by (state) (unroll_trainers{state=~"idle|busy"}))', "warm"),
        limit=1,
        is_least=True,
    ),
    Stat("Running", "Jobs that train.", Query('max(unroll_jobs{state="running"})', "running")),
    Stat("Waiting", "Jobs that wait for a worker.", Query("unroll:queue_depth:sum", "wait")),
    Stat(
        "Longest wait",
        "How long the job has waited that waits longest.",
        Query("max(unroll_queue_oldest_job_age_seconds)", "waits"),
        unit="s",
        limit=21_600,
    ),
    Stat(
        "Drained",
        "1 while the service starts no jobs, because its operator said so.",
        Query("max(unroll_drained)", "drained"),
        limit=1,
    ),
    Stat(
        "Version",
        "Versions that run.",
        Query("max by (version) (unroll_build_info)", "{{version}}"),
        shows_name=True,
    ),
]

_JOBS = [
    Lines(
        "Unfinished jobs",
        "Jobs that have not ended, by state.",
        [Query('max by (state) (unroll_jobs{state=~"queued|running|pausing|paused"})', "{{state}}")],
        is_stacked=True,
    ),
    Lines(
        "Submitted and placed",
        "Jobs a minute that came in and that were given to a trainer. One that is given back is placed again.",
        [
            Query("60 * sum(max by (cell) (rate(unroll_jobs_submitted_total[$__rate_interval])))", "submitted"),
            Query("60 * sum(rate(unroll_dispatcher_claims_total[$__rate_interval]))", "placed"),
        ],
    ),
    Lines(
        "Ended",
        "Jobs a minute that ended, by outcome.",
        [
            Query(
                "60 * sum by (outcome) (max by (cell, outcome, reason) "
                "(rate(unroll_jobs_finished_total[$__rate_interval])))",
                "{{outcome}}",
            )
        ],
        is_stacked=True,
    ),
    Lines(
        "Wait for a worker",
        "Seconds from ready to placed, of the jobs that were placed.",
        quantiles("unroll_job_queue_wait_seconds", over="max"),
        unit="s",
    ),
    Lines(
        "Waiting jobs by priority",
        "Jobs that wait; 9 runs first.",
        [Query("max by (priority) (unroll_queue_depth)", "priority {{priority}}")],
        is_stacked=True,
    ),
    Lines(
        "Share of jobs that fail",
        "Of the jobs that ended within half an hour.",
        [Query("unroll:jobs_failed:ratio_rate30m", "failed")],
        unit="percentunit",
    ),
]

_WORK = [
    Lines(
        "Characters trained on",
        "Characters a second, by recurrent cell.",
        [Query("max by (cell) (rate(unroll_train_characters_total[$__rate_interval]))", "{{cell}}")],
        is_stacked=True,
    ),
    Lines(
        "Workers at work",
        "Share of all workers that running jobs have.",
        [Query("unroll:workers_at_work:ratio", "at work")],
        unit="percentunit",
    ),
    Lines(
        "Symbols written",
        "Symbols a second that the sampler wrote.",
        [Query("sum(rate(unroll_sample_tokens_total[$__rate_interval]))", "symbols")],
    ),
    Lines(
        "Time to first symbol",
        "From a completion request to its first symbol.",
        quantiles("unroll_sample_time_to_first_token_seconds"),
        unit="s",
    ),
    Lines(
        "Requests",
        "HTTP requests a second that the app answered, by status class.",
        [Query("sum by (status_class) (rate(unroll_http_requests_total[$__rate_interval]))", "{{status_class}}")],
        is_stacked=True,
    ),
    Lines(
        "Server errors",
        "Share of the requests that ended in one.",
        [Query("unroll:http_requests:error_ratio_rate5m", "5xx")],
        unit="percentunit",
    ),
]
