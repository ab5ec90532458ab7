"""What of the storage the queue's records refer to. Changes nothing but the queue's own name, made once."""

import json
import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts

_PAGE = 500


class References(NamedTuple):
    """Blobs and checkpoints by path; each job with the epoch that may still publish, None once it has ended."""

    blobs: set[str]
    checkpoints: set[str]
    jobs: dict[str, int | None]


def installation(scripts: RedisScripts) -> str:
    """The name of this queue: as long as its data live, however often Redis is started. Raises Unavailable."""
    with scripts.faults():
        scripts.redis.set(keys.INSTALLATION, secrets.token_hex(16), nx=True)
        name: str = scripts.redis.get(keys.INSTALLATION)
        return name


def references(scripts: RedisScripts) -> References:
    """All that every record there is refers to. Raises Unavailable, or whatever a record does that cannot be read."""
    found = References(set(), set(), {})
    with scripts.faults():
        for _, raw in _each(scripts, keys.dataset(""), lambda pipe, key: pipe.hget(key, "record")):
            if raw:
                found.blobs.add(json.loads(raw)["blob"])
        # Jobs before checkpoints: one that has ended by now has published its last.
        for job_id, (epoch, ended) in _each(
            scripts, keys.job(""), lambda pipe, key: pipe.hmget(key, "epoch", "finished_at")
        ):
            found.jobs[job_id] = None if ended else int(epoch or 0)
        for _, kept in _each(scripts, keys.checkpoints(""), lambda pipe, key: pipe.hvals(key)):
            found.checkpoints.update(json.loads(raw)["path"] for raw in kept)
    return found


def _each(scripts: RedisScripts, kind: str, ask: Callable[[Any, str], object]) -> Iterator[tuple[str, Any]]:
    """The id of every record whose key begins with `kind`, and what is asked of it, a page at a time."""
    names = scripts.redis.scan_iter(match=f"{kind}*", count=_PAGE)
    while page := list(islice(names, _PAGE)):
        with scripts.redis.pipeline(transaction=False) as asked:
            for key in page:
                ask(asked, key)
            answers = asked.execute()
        yield from zip((key.removeprefix(kind) for key in page), answers, strict=True)
