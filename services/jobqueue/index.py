"""The indexes of the queue, sorted sets of ids, page after page. Knows no object behind an id."""

from collections.abc import Iterator

from rnncore.errors import NotFound
from services.jobqueue.scripts import RedisScripts

_PAGE = 100


def pages(
    scripts: RedisScripts, index: str, after: str | None, param: str, *, oldest_first: bool = False
) -> Iterator[list[str]]:
    """Members of `index` behind `after`, highest score first or last. Raises NotFound naming `param`."""
    redis, start = scripts.redis, 0
    with scripts.faults():
        if after is not None:
            rank = redis.zrank(index, after) if oldest_first else redis.zrevrank(index, after)
            if rank is None:
                raise NotFound(f"no object {after} to list behind", param=param)
            start = rank + 1
        while page := redis.zrange(index, start, start + _PAGE - 1, desc=not oldest_first):
            yield page
            start += len(page)
