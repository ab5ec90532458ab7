"""`/v1/sweeps`: many jobs in search of the best values. The trials are ordinary jobs of `/v1/jobs`."""

from contextlib import suppress
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query

from rnncore.errors import NotFound
from rnncore.sweep_spec import SweepSpec
from services.api.rooms import After, Deleted, InRooms, Limit, Page, Tenant, errors, page
from services.jobqueue.sweeps import Sweep, Trial, TrialState
from services.sweeps.creation import create
from services.sweeps.report import SweepReport, report

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])


@router.post("", responses=errors(404, 409, 507))
def create_sweep(
    spec: SweepSpec,
    rooms: InRooms,
    tenant: Tenant,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Sweep:
    """Starts a sweep; it is safe once this answers. The same Idempotency-Key again answers the same sweep."""
    return create(spec, rooms, tenant, idempotency_key=idempotency_key)


@router.get("", responses=errors(404))
def list_sweeps(rooms: InRooms, tenant: Tenant, limit: Limit = 20, after: After = None) -> Page[Sweep]:
    """Sweeps, newest first."""
    found, has_more = rooms.sweeps.page(tenant, limit=limit, after=after)
    return page(found, has_more, [sweep.id for sweep in found])


@router.get("/{sweep_id}", responses=errors(404))
def get_sweep(sweep_id: str, rooms: InRooms, tenant: Tenant) -> SweepReport:
    """One sweep: how its trials stand, the best of them, and each point with mean and spread over its replicates."""
    sweep = rooms.sweeps.get(tenant, sweep_id)
    return report(sweep, rooms.sweeps.trials(sweep))


@router.delete("/{sweep_id}", responses=errors(404, 409))
def delete_sweep(sweep_id: str, rooms: InRooms, tenant: Tenant) -> Deleted:
    """Deletes the record of a sweep that has ended; its trials stay, as jobs like any other."""
    rooms.sweeps.delete(tenant, sweep_id)
    return Deleted(id=sweep_id, object="sweep")


@router.get("/{sweep_id}/trials", responses=errors(404))
def list_trials(
    sweep_id: str,
    rooms: InRooms,
    tenant: Tenant,
    state: Annotated[TrialState | None, Query(description="Only trials in this state.")] = None,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=-1, le=1_000_000, description="Those behind the trial of this number.")] = -1,
) -> Page[Trial]:
    """Trials in the order in which they were made."""
    sweep = rooms.sweeps.get(tenant, sweep_id)
    found = (trial for trial in rooms.sweeps.trials(sweep) if trial.number > after and state in (None, trial.state))
    shown = list(islice(found, limit + 1))
    return page(shown[:limit], len(shown) > limit, [str(trial.number) for trial in shown[:limit]])


@router.post("/{sweep_id}/cancel", responses=errors(404))
def cancel_sweep(sweep_id: str, rooms: InRooms, tenant: Tenant) -> Sweep:
    """Makes no trial more and cancels those that have not ended; an ended sweep stays as it is."""
    sweep = rooms.sweeps.cancel(tenant, sweep_id)
    if sweep.state == "running":
        for trial in rooms.sweeps.trials(sweep):
            if trial.job and not trial.is_over:
                with suppress(NotFound):
                    rooms.queue.cancel(tenant, trial.job)
    return sweep
