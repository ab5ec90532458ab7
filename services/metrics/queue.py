"""Metrics that lie in Redis: the queue's, and what trainers relay through it. Every app tells the same of them."""

from functools import partial

from services.metrics.declared import HOURS, Metric

_gauge = partial(Metric, kind="gauge", teller="app")
_counter = partial(Metric, kind="counter", teller="app")
_histogram = partial(Metric, kind="histogram", teller="app")

QUEUE_UP = _gauge("unroll_queue_up", help="1 where the queue could be read for this scrape, else 0.")
DRAINED = _gauge("unroll_drained", help="1 while the service takes up no jobs (`unroll drain`), else 0.")
QUEUE_DEPTH = _gauge("unroll_queue_depth", help="Jobs that wait, by priority (9 runs first).", labels=("priority",))
QUEUE_OLDEST_JOB_AGE = _gauge(
    "unroll_queue_oldest_job_age_seconds",
    help="Seconds that the longest waiting job has waited since it was submitted or given back; 0 where none waits.",
)
JOBS = _gauge("unroll_jobs", help="Jobs by state; of ended ones all that there ever were.", labels=("state",))
JOBS_SUBMITTED = _counter("unroll_jobs_submitted_total", help="Jobs submitted, by recurrent cell.", labels=("cell",))
JOBS_FINISHED = _counter(
    "unroll_jobs_finished_total",
    help="Jobs that reached a terminal state, by recurrent cell, outcome and reason.",
    labels=("cell", "outcome", "reason"),
)
JOB_FAILURES = _counter(
    "unroll_job_failures_total",
    help="Attempts that a trainer reported as failed, those that are repeated included, by cell and fault.",
    labels=("cell", "reason"),
)
WORKER_LOSSES = _counter(
    "unroll_worker_losses_total",
    help="Attempts that ended because the worker was gone (worker_lost) or stuck (no_progress).",
    labels=("reason",),
)
JOB_QUEUE_WAIT = _histogram(
    "unroll_job_queue_wait_seconds",
    help="Seconds that a job waited for its worker, once for each start.",
    buckets=HOURS,
)
JOB_TIME_TO_FIRST_STEP = _histogram(
    "unroll_job_time_to_first_step_seconds",
    help="Seconds from the claim of a job to its first optimizer step, once for each start, by kind of start.",
    labels=("start",),
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
JOB_ATTEMPTS = _histogram(
    "unroll_job_attempts", help="Starts that an ended job took, of jobs that started.", buckets=(1, 2, 3, 5, 10)
)

TRAIN_CHARACTERS = _counter(
    "unroll_train_characters_total",
    help="Characters trained on, those repeated after a loss included, by recurrent cell.",
    labels=("cell",),
)
TRAIN_STEPS = _counter(
    "unroll_train_steps_total",
    help="Optimizer steps taken, those repeated after a loss included, by recurrent cell.",
    labels=("cell",),
)
TRAIN_STEP_DURATION = _histogram(
    "unroll_train_step_duration_seconds",
    help="Seconds of an optimizer step, each counted with the mean of the ten or fewer that it was reported with.",
    labels=("cell",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
TRAIN_NONFINITE_LOSS = _counter(
    "unroll_train_nonfinite_loss_total",
    help="Attempts that ended because a loss or gradient was no finite number, by recurrent cell.",
    labels=("cell",),
)
TRAIN_GRADIENT_CLIPPED = _counter(
    "unroll_train_gradient_clipped_total",
    help="Optimizer steps whose gradient was longer than gradient_clip_norm, by recurrent cell.",
    labels=("cell",),
)
TRAIN_CHECKPOINT_DURATION = _histogram(
    "unroll_train_checkpoint_duration_seconds",
    help="Seconds from a checkpoint's first byte to its publication, once for each published.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0),
)
TRAIN_STORAGE_FAULTS = _counter(
    "unroll_train_storage_faults_total",
    help="Tries of trainers to read data or publish a checkpoint that failed and are repeated, by fault.",
    labels=("fault",),
)

TRAIN_LOSS = _gauge(
    "unroll_train_loss", help="Last training loss of a running job, in nats per character.", labels=("job_id",)
)
TRAIN_VALIDATION_BITS = _gauge(
    "unroll_train_validation_bits_per_character",
    help="Last validation loss of a running job, in bits per character.",
    labels=("job_id",),
)
TRAIN_GRADIENT_NORM = _gauge(
    "unroll_train_gradient_norm",
    help="Last global gradient norm of a running job before clipping.",
    labels=("job_id",),
)
TRAIN_LEARNING_RATE = _gauge(
    "unroll_train_learning_rate", help="Learning rate of a running job's last step.", labels=("job_id",)
)
TRAIN_CHARACTERS_PER_SECOND = _gauge(
    "unroll_train_characters_per_second",
    help="Characters that a running job trains on each second.",
    labels=("job_id",),
)
TRAIN_PROGRESS = _gauge(
    "unroll_train_progress_ratio", help="Share of a running job's budget used, from 0 to 1.", labels=("job_id",)
)
TRAIN_JOBS_WITHOUT_SERIES = _gauge(
    "unroll_train_jobs_without_series",
    help="Running jobs beyond the 200 newest; they have no series of their own.",
)

SWEEPS_RUNNING = _gauge("unroll_sweeps_running", help="Sweeps that have not ended.")
SWEEPS_FINISHED = _counter("unroll_sweeps_finished_total", help="Sweeps that ended, by outcome.", labels=("outcome",))
SEATS = _gauge(
    "unroll_seats",
    help="Workers that could run at once were all free, by what they compute on; as the dispatcher told last.",
    labels=("kind",),
)
WORKERS_AT_WORK = _gauge("unroll_workers_at_work", help="Workers that running jobs have.")
STORED = _gauge("unroll_stored_bytes", help="Bytes of data sets and checkpoints that records refer to.")
WEBHOOKS_WAITING = _gauge("unroll_webhooks_waiting", help="Messages to webhooks that are still to be sent.")

REDIS_MEMORY_USED = _gauge("unroll_redis_memory_used_bytes", help="Bytes that Redis has in use.")
REDIS_MEMORY_MAX = _gauge(
    "unroll_redis_memory_max_bytes",
    help="Bytes that Redis may use: its maxmemory, or the memory of its machine where that is 0.",
)
REDIS_AOF_OK = _gauge(
    "unroll_redis_append_only_file_ok", help="1 where Redis could write its append-only file last, else 0."
)
REDIS_CLIENTS = _gauge("unroll_redis_clients", help="Connections that Redis has.")
REDIS_COMMANDS = _counter("unroll_redis_commands_total", help="Commands that Redis has carried out since its start.")
