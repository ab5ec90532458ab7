"""How a job or a sweep ended: its record, or the exception that its end stands for. Knows no connection."""

from unroll.errors import JobCancelledError, JobFailedError, ProtocolError
from unroll.types import JobError, JobRecord, SweepReport


def succeeded(record: JobRecord) -> JobRecord:
    """`record`, where it says `succeeded`. Raises JobFailedError or JobCancelledError for the other two ends."""
    if record.state == "failed":
        error = record.error or JobError(type="unknown", message="the server kept no reason")
        raise JobFailedError(
            record.id, type=error.type, message=error.message, hint=error.hint, log_tail=error.log_tail
        )
    if record.state == "cancelled":
        raise JobCancelledError(record.id)
    if record.state != "succeeded":
        raise ProtocolError(f"the events of {record.id} ended, but it is {record.state}")
    return record


def sweep_succeeded(report: SweepReport) -> SweepReport:
    """`report`, where it says `succeeded`. Raises JobFailedError or JobCancelledError for the other two ends."""
    if report.state == "failed":
        raise JobFailedError(report.id, type="sweep", message=report.error or "the server kept no reason")
    if report.state == "cancelled":
        raise JobCancelledError(report.id)
    return report
