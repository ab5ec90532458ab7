"""Whether any worker here could ever run a job; refused at submission, with the nearest that one can."""

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
    resources = spec.resources
    if capacity is not None:
        if resources.num_workers > capacity.workers_per_job:
            raise InvalidInput(
                f"resources.num_workers is {resources.num_workers}, but a job can have {capacity.workers_per_job} here",
                param="resources.num_workers",
            )
        if resources.needs == "gpu" and not capacity.seats.gpu:
            raise InvalidInput(
                "resources.gpus_per_worker is 1, but no worker here has a GPU; set it to 0, or leave it out",
                param="resources.gpus_per_worker",
            )
        if resources.needs == "cpu" and not capacity.seats.cpu:
            raise InvalidInput(
                "resources.gpus_per_worker is 0, but every worker here has a GPU; set it to 1, or leave it out",
                param="resources.gpus_per_worker",
            )
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
