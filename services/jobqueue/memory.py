"""What of Redis' memory is in use, and when nothing new is taken. Knows no job."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from rnncore.errors import Overloaded

_FULL_SHARE = 0.8
_KNOWN_SECONDS = 1.0


class Memory(NamedTuple):
    """Bytes that Redis holds and may hold: `maxmemory`, or all of its machine where that is unset. 0: not known."""

    used: int
    most: int

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Memory":
        """From the answer to INFO."""
        return cls(told["used_memory"], told.get("maxmemory") or told.get("total_system_memory", 0))


class MemoryReserve:
    """Keeps a fifth of the memory for what runs. That there is room is asked of Redis once a second at most."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._room_until = 0.0

    def check(self) -> None:
        """Raises Overloaded while more than 80 % is in use; never where Redis may not be asked of itself."""
        if time.monotonic() < self._room_until:
            return
        try:
            memory = Memory.read(self._redis.info("memory"))
        except ResponseError:
            memory = Memory(0, 0)
        if memory.used > _FULL_SHARE * memory.most > 0:
            raise Overloaded(
                f"Redis' memory is full: {memory.used >> 20} MB of {memory.most >> 20} are in use, and beyond 80 % "
                "nothing new is taken; delete ended jobs or raise Redis' maxmemory"
            )
        self._room_until = time.monotonic() + _KNOWN_SECONDS
