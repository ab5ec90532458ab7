"""Whether any workers here could ever run a job; refused at submission, with the nearest that can."""

from rnncore.datasets.summaries import RowSummary, Summary
from rnncore.errors import InvalidInput
from rnncore.footprint import batch_bytes, model_bytes
from rnncore.plans import Plan, RowPlan, SeriesPlan
from rnncore.spec import JobSpec
from services.jobqueue.records import Capacity

# Of a worker that has not told how much it has: nobody has more.
_LARGEST_MEMORY = 1 << 42


def check_can_run(spec: JobSpec, plan: Plan, summary: Summary, capacity: Capacity | None) -> None:
    """Raises InvalidInput naming the field and the nearest value that could run. `capacity` None: not known yet."""
    _check_shares(spec)
    if capacity is not None:
        _check_seats(spec, capacity)
    memory = (capacity and capacity.memory) or _LARGEST_MEMORY
    num_symbols = _num_symbols(plan)
    fixed = model_bytes(spec.model, num_symbols)
    row = batch_bytes(spec.model, num_symbols, _steps(spec, summary))
    rows = (memory - fixed) // row
    if rows >= spec.train.batch_size:
        return
    needed = f"{(fixed + row * spec.train.batch_size) / 2**30:,.1f} GiB, the largest worker has {memory / 2**30:,.1f}"
    if rows >= 1:
        raise InvalidInput(
            f"train.batch_size is {spec.train.batch_size}: training would need at least {needed}; "
            f"lower it to {rows}, or lower train.tbptt_steps or model.hidden_size",
            param="train.batch_size",
        )
    raise InvalidInput(
        f"model.hidden_size is {spec.model.hidden_size}: training would need at least {needed}, and with "
        f"train.batch_size 1 still {(fixed + row) / 2**30:,.1f} GiB; lower it or train.tbptt_steps",
        param="model.hidden_size",
    )


def _check_shares(spec: JobSpec) -> None:
    """Every worker has as many streams as the others."""
    for name in ("num_workers", "min_workers"):
        number, batch_size = getattr(spec.resources, name), spec.train.batch_size
        if number and batch_size % number:
            nearest = next(fewer for fewer in range(number, 0, -1) if batch_size % fewer == 0)
            raise InvalidInput(
                f"resources.{name} is {number}, among which the {batch_size} streams of train.batch_size cannot be "
                f"shared out evenly; set it to {nearest}, or train.batch_size to {-(-batch_size // number) * number}",
                param=f"resources.{name}",
            )


def _check_seats(spec: JobSpec, capacity: Capacity) -> None:
    """There are as many workers of its kind as it starts with, or may be where the cluster grows."""
    resources, seats = spec.resources, capacity.seats
    if resources.needs == "gpu" and not seats.gpu and not capacity.most:
        raise InvalidInput(
            f"resources.gpus_per_worker is {resources.gpus_per_worker:g}, but no worker here has a GPU; set it to 0, "
            "or leave it out",
            param="resources.gpus_per_worker",
        )
    if resources.needs == "cpu" and not seats.cpu and not capacity.most:
        raise InvalidInput(
            "resources.gpus_per_worker is 0, but every worker here has a GPU; set it to 1, or leave it out",
            param="resources.gpus_per_worker",
        )
    most = max(capacity.most, {"cpu": seats.cpu, "gpu": seats.gpu, "any": max(seats.cpu, seats.gpu)}[resources.needs])
    name, least = ("num_workers", resources.num_workers)
    if resources.min_workers is not None:
        name, least = ("min_workers", resources.min_workers)
    if least > most:
        kind = {"cpu": " without a GPU", "gpu": " with a GPU", "any": ""}[resources.needs]
        nearest = next((fewer for fewer in range(most, 0, -1) if spec.train.batch_size % fewer == 0), 1)
        raise InvalidInput(
            f"resources.{name} is {least}, but a job can have {most} workers{kind} here; lower it to {nearest}",
            param=f"resources.{name}",
        )


def _num_symbols(plan: Plan) -> int:
    if isinstance(plan, SeriesPlan):
        return 1
    if isinstance(plan, RowPlan):
        tables = (plan.encoding.inputs, plan.encoding.outputs)
        return max((len(table.tokens) for table in tables if table), default=1)
    return plan.vocabulary.size


def _steps(spec: JobSpec, summary: Summary) -> int:
    """Steps of one sequence that training holds at once: a window, or the whole of the longest row."""
    return summary.longest if isinstance(summary, RowSummary) else spec.train.tbptt_steps or 1
