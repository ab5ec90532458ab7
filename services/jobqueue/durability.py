"""Whether Redis keeps what it acknowledges. A queue that loses nothing cannot stand on one that may."""

from typing import Any

import structlog
from redis.exceptions import ResponseError

from rnncore.errors import UnrollError
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings

log = structlog.get_logger(__name__)

REQUIRED = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def check_durability(scripts: RedisScripts, settings: Settings) -> None:
    """Raises UnrollError naming the setting of Redis that could lose an acknowledged job.

    Where CONFIG is forbidden nothing can be known: that is logged, unless UNROLL_REDIS_DURABILITY=external.
    """
    if settings.redis_durability == "external":
        return
    try:
        with scripts.faults():
            found: dict[str, Any] = {}
            for name in REQUIRED:
                found |= scripts.redis.config_get(name)
    except ResponseError as error:
        log.warning(
            "cannot see whether Redis is durable; set UNROLL_REDIS_DURABILITY=external if it is", why=str(error)
        )
        return
    for name, value in REQUIRED.items():
        if found.get(name) != value:
            raise UnrollError(
                f"Redis has {name}={found.get(name)}, which can lose acknowledged jobs; set {name} {value}, "
                "or UNROLL_REDIS_DURABILITY=external if its durability is looked after elsewhere"
            )
