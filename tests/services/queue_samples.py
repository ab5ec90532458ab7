"""Small things the queue's tests are made of."""

from typing import Any

from rnncore.corpus import TextSummary
from rnncore.spec import JobSpec
from services.jobqueue.audit import contents, jobs_in, violations
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import Checkpoint, Claim, Dataset, JobRecord
from services.jobqueue.scripts import RedisScripts

__all__ = ["audit", "contents", "jobs_in"]

TENANT = "tenant-a"
DATASET = "ds-" + "a" * 32
VALIDATION = "ds-" + "b" * 32
LEASE_SECONDS = 30.0


def make_spec(**changes: Any) -> JobSpec:
    """A spec whose streams any number of workers up to six can share."""
    return JobSpec.model_validate({"dataset": DATASET, "train": {"batch_size": 60}, **changes})


def make_dataset(dataset_id: str = DATASET, tenant: str = TENANT, created_at: float = 1000.0) -> Dataset:
    summary = TextSummary(vocabulary="characters", num_symbols=7, symbols="abc", offsets=(0, 1, 2))
    return Dataset(
        kind="text",
        id=dataset_id,
        tenant=tenant,
        created_at=created_at,
        num_bytes=7,
        sha256="5" * 64,
        summary=summary,
        name="text",
    )


def make_checkpoint(held: Claim, step: int) -> Checkpoint:
    return Checkpoint(
        model=f"{held.job}:step-{step}",
        job=held.job,
        step=step,
        epoch=held.epoch,
        path=f"jobs/{held.job}/checkpoints/{step}",
        created_at=1000.0,
        parameters_sha256="3" * 64,
    )


def add_datasets(queue: JobQueue, tenant: str = TENANT, *dataset_ids: str) -> None:
    for dataset_id in dataset_ids or (DATASET,):
        queue.datasets.put(make_dataset(dataset_id, tenant), f"blob of {dataset_id}")


def submit(queue: JobQueue, tenant: str = TENANT, **changes: Any) -> JobRecord:
    return queue.submit(tenant, make_spec(**changes))


def audit(scripts: RedisScripts) -> None:
    """Fails unless everything in Redis is as the queue promises."""
    assert violations(scripts) == []
