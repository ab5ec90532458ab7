"""Where each thing lies in storage: the one place that spells these paths. Every id in them was made by the service."""


def dataset_blob(tenant: str, nonce: str) -> str:
    """Each upload has a name of its own: deleting one can never take the bytes of another."""
    return f"datasets/{tenant}/{nonce}"


def job_folder(job_id: str) -> str:
    return f"jobs/{job_id}"


def checkpoints(job_id: str) -> str:
    return f"jobs/{job_id}/checkpoints"


def checkpoint(job_id: str, epoch: int, step: int) -> str:
    """An epoch writes under its own name: one that has lost its job can overwrite nothing of the next."""
    return f"jobs/{job_id}/checkpoints/{step:010}-{epoch:06}"


def metrics(job_id: str) -> str:
    return f"jobs/{job_id}/metrics"


def logs(job_id: str) -> str:
    return f"jobs/{job_id}/logs"
