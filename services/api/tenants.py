"""`/v1/tenants`: shares and quotas; for keys with scope admin alone."""

from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath

from services.api.rooms import InRooms, Page, errors, page
from services.jobqueue.tenants import Tenant, TenantLimits

router = APIRouter(prefix="/v1/tenants", tags=["tenants"])

TENANT_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
Name = Annotated[str, InPath(pattern=TENANT_PATTERN)]


@router.get("", responses=errors(403))
def list_tenants(rooms: InRooms) -> Page[Tenant]:
    """Tenants that have a key or limits of their own, with what each has running and ready."""
    found = rooms.tenants.list()
    return page(found, False, [tenant.id for tenant in found])


@router.get("/{tenant}", responses=errors(403))
def get_tenant(tenant: Name, rooms: InRooms) -> Tenant:
    """One tenant; of one that nobody named the limits are those of all."""
    return rooms.tenants.get(tenant)


@router.put("/{tenant}", responses=errors(403))
def put_tenant(tenant: Name, limits: TenantLimits, rooms: InRooms) -> Tenant:
    """Sets share and quotas, from the next claim and submission on; what runs goes on."""
    rooms.tenants.put(tenant, limits)
    return rooms.tenants.get(tenant)
