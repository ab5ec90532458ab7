"""The service as its users and keepers see it: who may take what, who waits, who works, what was used."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from unroll.types.answer import Answer
from unroll.types.jobs import Progress, QueuePlace


class ApiKey(Answer):
    """What an API key may do. `key` is its text, answered once, when it is made."""

    id: str
    object: str = "key"
    tenant: str
    name: str | None = None
    scopes: list[str] = Field(default_factory=list)
    created_at: float
    expires_at: float | None = None
    requests_per_minute: int | None = None
    key: str | None = None


class Tenant(Answer):
    """What a tenant may take (null: any number), and what it has now."""

    id: str
    object: str = "tenant"
    weight: float = 1.0
    max_running: int | None = None
    max_gpus: int | None = None
    max_queued: int | None = None
    max_storage_bytes: int | None = None
    running: int = 0
    gpus: float = 0
    queued: int = 0
    stored_bytes: int = 0


class Webhook(Answer):
    """A URL that is posted to when a job ends. `secret` checks the signature; answered once, when it is made."""

    id: str
    object: str = "webhook"
    url: str
    created_at: float
    secret: str | None = None


class Worker(Answer):
    """Room for one trainer, and who is there: jobs of the key's tenant by id, those of others as a number."""

    id: str
    object: str = "worker"
    node: str
    host: str
    kind: str
    threads: int
    memory_bytes: int = 0
    state: str
    is_drained: bool = False
    jobs: list[dict[str, Any]] = Field(default_factory=list)
    num_jobs: int = 0
    utilisation: float = 0.0


class JobInLine(Answer):
    """An unfinished job as far as the line is concerned."""

    id: str
    object: str = "job_in_line"
    tenant: str
    name: str | None = None
    state: str
    priority: int
    num_workers: int = 1
    created_at: float
    started_at: float | None = None
    progress: Progress = Progress()
    queue: QueuePlace | None = None
    placement: dict[str, Any] | None = None


class Line(Answer):
    """Unfinished jobs: the next to start first, then those that run, then those that were set aside."""

    object: str = "queue"
    waiting: list[JobInLine] = Field(default_factory=list)
    running: list[JobInLine] = Field(default_factory=list)
    paused: list[JobInLine] = Field(default_factory=list)
    num_waiting: int = 0
    num_running: int = 0


class Amounts(Answer):
    """What was used in some time."""

    characters_trained: int = 0
    training_steps: int = 0
    worker_seconds: float = 0.0
    tokens_sampled: int = 0


class DayUsage(Amounts):
    """What was used on one day, UTC."""

    date: dt.date


class Usage(Answer):
    """What a tenant used from `start` to `end`, both included; days without any are left out."""

    object: str = "usage"
    tenant: str
    start: dt.date
    end: dt.date
    stored_bytes: int = 0
    total: Amounts
    days: list[DayUsage] = Field(default_factory=list)


@dataclass(frozen=True)
class Readiness:
    """Whether the server takes work, and what it says about itself."""

    is_ready: bool
    detail: dict[str, Any]
