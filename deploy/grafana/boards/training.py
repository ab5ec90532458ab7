"""How training goes: its pace, what befalls it, and every running job by itself."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.boards.parts import Lines, Query, Section, board, quantiles


def training() -> Dashboard:
    return board(
        "unroll-training",
        "Unroll: training",
        "Pace, failures and sweeps of all jobs; losses and gradients of those that run (200 newest).",
        [Section("Pace", _PACE), Section("What befalls jobs", _FAULTS), Section("Running jobs", _JOBS)],
        variables=["job_id"],
    )


def _rate_by_cell(metric: str) -> list[Query]:
    return [Query(f"max by (cell) (rate({metric}[$__rate_interval]))", "{{cell}}")]


def _of_jobs(metric: str) -> list[Query]:
    return [Query(f'max by (job_id) ({metric}{{job_id=~"$job_id"}})', "{{job_id}}")]


_PACE = [
    Lines(
        "Characters a second",
        "Trained on, by recurrent cell.",
        _rate_by_cell("unroll_train_characters_total"),
        is_stacked=True,
    ),
    Lines("Steps a second", "Optimizer steps, by recurrent cell.", _rate_by_cell("unroll_train_steps_total")),
    Lines(
        "Time of a step",
        "Seconds of an optimizer step, by recurrent cell.",
        quantiles("unroll_train_step_duration_seconds", "{{cell}}", by="cell", over="max"),
        unit="s",
        is_log=True,
    ),
    Lines(
        "Time to first step",
        "Seconds from the claim of a job to its first step, on a warm trainer or in a process made for it.",
        quantiles("unroll_job_time_to_first_step_seconds", "{{start}}", by="start", over="max"),
        unit="s",
    ),
    Lines(
        "Time of a checkpoint",
        "Seconds that training stands still for a checkpoint to be written and published.",
        quantiles("unroll_train_checkpoint_duration_seconds", over="max"),
        unit="s",
    ),
    Lines(
        "Gradients that were clipped",
        "Share of the steps whose gradient was longer than gradient_clip_norm. Near 1: the limit sets the step.",
        [Query("unroll:train_gradient_clipped:ratio_rate5m", "{{cell}}")],
        unit="percentunit",
        most=1,
    ),
]

_FAULTS = [
    Lines(
        "Attempts that failed",
        "Within five minutes, by fault; those that are repeated included.",
        [
            Query(
                "sum by (reason) (max by (cell, reason) (increase(unroll_job_failures_total[5m]))) or vector(0)",
                "{{reason}}",
            )
        ],
    ),
    Lines(
        "Losses that are not finite",
        "Attempts within five minutes that ended by one.",
        [Query("max by (cell) (increase(unroll_train_nonfinite_loss_total[5m]))", "{{cell}}")],
    ),
    Lines(
        "Workers lost",
        "Attempts within five minutes whose worker was gone or stuck. Their jobs go on from the last checkpoint.",
        [Query("max by (reason) (increase(unroll_worker_losses_total[5m]))", "{{reason}}")],
    ),
    Lines(
        "Storage that did not answer",
        "Tries of trainers within five minutes that failed and are repeated, by fault.",
        [Query("max by (fault) (increase(unroll_train_storage_faults_total[5m]))", "{{fault}}")],
    ),
    Lines(
        "Starts a job took",
        "Mean number of starts of the jobs that ended.",
        [
            Query(
                "max(rate(unroll_job_attempts_sum[$__rate_interval])) "
                "/ max(rate(unroll_job_attempts_count[$__rate_interval]))",
                "starts",
            )
        ],
    ),
    Lines(
        "Sweeps",
        "Sweeps that run, and that ended within an hour.",
        [
            Query("max(unroll_sweeps_running)", "running"),
            Query("max by (outcome) (increase(unroll_sweeps_finished_total[1h]))", "{{outcome}}"),
        ],
    ),
]

_JOBS = [
    Lines("Training loss", "In nats per symbol.", _of_jobs("unroll_train_loss"), is_log=True),
    Lines("Validation", "In bits per character.", _of_jobs("unroll_train_validation_bits_per_character"), is_log=True),
    Lines("Gradient norm", "Before clipping.", _of_jobs("unroll_train_gradient_norm"), is_log=True),
    Lines("Learning rate", "Of the last step.", _of_jobs("unroll_train_learning_rate"), is_log=True),
    Lines("Pace", "Characters a second.", _of_jobs("unroll_train_characters_per_second")),
    Lines("Progress", "Share of the budget used.", _of_jobs("unroll_train_progress_ratio"), unit="percentunit", most=1),
    Lines(
        "Jobs without series",
        "Running jobs beyond the 200 newest.",
        [Query("max(unroll_train_jobs_without_series)", "jobs")],
    ),
]
