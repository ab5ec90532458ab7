"""`/v1/workers` and `/v1/queue`: who works at what, and who waits. Keys of scope admin see all tenants' jobs."""

from fastapi import APIRouter

from services.api.rooms import InRooms, Page, Seen, errors, page
from services.jobqueue.floor import Worker
from services.jobqueue.line import Line

router = APIRouter(prefix="/v1", tags=["workers"])


@router.get("/workers", responses=errors())
def list_workers(rooms: InRooms, seen: Seen) -> Page[Worker]:
    """Every worker, by host, as the dispatcher told within the last seconds; none where no dispatcher runs."""
    found = rooms.floor.workers(seen)
    return page(found, False, [worker.id for worker in found])


@router.get("/queue", responses=errors())
def get_queue(rooms: InRooms, seen: Seen) -> Line:
    """Unfinished jobs: which wait, for what and how long, which run, which were set aside."""
    return rooms.lines.read(seen)
