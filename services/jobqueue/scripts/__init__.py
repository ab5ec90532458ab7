"""The Lua scripts and the one way to run them: a connection, each script by name, Redis's faults as ours.

What the queue hands to workers is signed, so that a record which somebody else wrote into Redis is not run.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import resources
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from rnncore.errors import Overloaded, SchemaMismatch, Unavailable
from services.jobqueue.histograms import lua_bounds
from services.jobqueue.keys import SCHEMA_VERSION
from services.jobqueue.memory import MemoryReserve

# Longer than any blocking read, or redis-py gives up on an answer that is merely waited for.
SOCKET_SECONDS = 30
# What makes Redis hold more for good. Refused while it is nearly full; what runs may still report and end.
_ADDING = {"submit", "create_sweep", "put_dataset"}


class RedisScripts:
    """A Redis connection pool that runs the queue's scripts. Safe to share between threads."""

    def __init__(self, url: str, secret: bytes = b"") -> None:
        self.url = url
        self._secret = secret
        self.redis: Any = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=5,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), 3),
        )
        self._reserve = MemoryReserve(self.redis)

    def run(self, name: str, *arguments: str | int | float) -> Any:
        """Runs script `name`. A lost reply makes it run again, which each script allows for.

        Raises Overloaded for one that adds while more than 80 % of Redis' memory is in use.
        """
        with self.faults():
            if name in _ADDING:
                self._reserve.check()
            return self._scripts[name](args=list(arguments))

    def check_schema(self) -> None:
        """Raises SchemaMismatch where the data in Redis are another program's. Every script looks for itself too."""
        self.run("schema")

    def signature(self, job_id: str, tenant: str, spec: str) -> str:
        """HMAC of what a job is and whose: the part of a record that never changes."""
        signed = "\n".join((job_id, tenant, spec)).encode()
        return hmac.new(self._secret, b"job\n" + signed, hashlib.sha256).hexdigest()

    def is_signed(self, signature: str | None, job_id: str, tenant: str, spec: str) -> bool:
        """Whether `signature` is that of this record."""
        return hmac.compare_digest(signature or "", self.signature(job_id, tenant, spec))

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turns what Redis raises into Overloaded (its memory is full) or Unavailable."""
        try:
            yield
        except redis.exceptions.OutOfMemoryError as error:
            raise Overloaded("the queue's memory is full; delete ended jobs or raise Redis's maxmemory") from error
        except redis.exceptions.ResponseError as error:
            if "OOM" in str(error):
                raise Overloaded("the queue's memory is full; delete ended jobs or raise Redis's maxmemory") from error
            if str(error).startswith("SCHEMA "):
                raise _mismatch(str(error).split()[1]) from error
            raise
        except redis.exceptions.RedisError as error:
            raise Unavailable(f"the queue does not answer: {error}") from error

    def close(self) -> None:
        self.redis.close()

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        folder = resources.files(__name__)
        told = f"local SCHEMA_VERSION = '{SCHEMA_VERSION}'\n{lua_bounds()}"
        shared = told + folder.joinpath("_shared.lua").read_text()
        return {
            path.name.removesuffix(".lua"): self.redis.register_script(shared + path.read_text())
            for path in folder.iterdir()
            if path.name.endswith(".lua") and not path.name.startswith("_")
        }


def _mismatch(found: str) -> SchemaMismatch:
    is_older = found.isdigit() and int(found) < SCHEMA_VERSION
    way_out = "a version of Unroll that brings them up to date" if is_older else "the version of Unroll that wrote them"
    return SchemaMismatch(
        f"the data in Redis have schema version {found}, this program works with {SCHEMA_VERSION}; "
        f"run {way_out} (docs/how-to/operations.md, Upgrade)"
    )
