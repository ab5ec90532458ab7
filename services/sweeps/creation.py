"""What is refused of a sweep before it is taken: what could only fail later. Knows no search."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import ValidationError

from rnncore.errors import InvalidInput, UnrollError
from rnncore.sweep_points import check_sweep, trial_spec
from rnncore.sweep_spec import Point, SweepSpec
from services import submission
from services.jobqueue.sweeps import Sweep, Sweeps
from services.models import is_alias, resolve


class Rooms(submission.Rooms, Protocol):
    """What a sweep is checked with, and put into."""

    @property
    def sweeps(self) -> Sweeps: ...


def create(spec: SweepSpec, rooms: Rooms, tenant: str, *, idempotency_key: str | None = None) -> Sweep:
    """The new sweep, or the one that `idempotency_key` made before.

    Raises InvalidInput, NotFound or Conflict naming the field, StorageFull.
    """
    rooms.storage.check_space()
    if spec.promote_to and not is_alias(spec.promote_to):
        raise InvalidInput(f"{spec.promote_to!r} cannot be an alias", param="promote_to")
    corners = check_sweep(spec)
    _check_some_job_can_run(spec, corners, rooms, tenant)
    if spec.spec.init_from and "init_from" not in spec.parameters:
        # Pinned to the step: all trials start from the same model, whatever its job makes of it meanwhile.
        source = resolve(rooms.queue, tenant, spec.spec.init_from, param="spec.init_from").model
        spec = spec.model_copy(update={"spec": spec.spec.model_copy(update={"init_from": source})})
    return rooms.sweeps.create(tenant, spec, idempotency_key=idempotency_key)


def _check_some_job_can_run(spec: SweepSpec, corners: Sequence[Point], rooms: Rooms, tenant: str) -> None:
    """A trial may fail where its own values are at fault; that every one must is told now."""
    faults: list[UnrollError] = []
    for point in (*corners, {}):
        try:
            submission.checked_spec(trial_spec(spec, point, number=0), rooms, tenant)
        except ValidationError:
            continue
        except UnrollError as error:
            faults.append(error)
            continue
        return
    if faults:
        fault = faults[0]
        fault.param = f"spec.{fault.param}" if fault.param else "spec"
        raise fault
