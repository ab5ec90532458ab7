"""Events of one job as they come, for asyncio. Knows no HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio
import redis.exceptions

from rnncore.errors import Unavailable
from services.jobqueue import keys
from services.jobqueue.parsing import event_of
from services.jobqueue.records import Event, JobState
from services.jobqueue.scripts import SOCKET_SECONDS

_NEWEST = 50


class EventStream:
    """Follows jobs' event streams. One connection a follower, given back when it leaves."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.asyncio.Redis.from_url(url, decode_responses=True, socket_timeout=SOCKET_SECONDS)

    async def follow(self, job_id: str, after: str, *, wait_seconds: float) -> AsyncIterator[Event | None]:
        """Events behind `after` ("0": from the first one kept); None after each `wait_seconds` of silence.

        Begins with an event of type `reset` where some behind `after` were trimmed. Ends with that of a terminal state,
        or at once if that lies behind. Raises Unavailable if Redis goes away.
        """
        block = int(wait_seconds * 1000)
        try:
            if reset := await self._gap(job_id, after):
                yield reset
            while True:
                has_ended = await self._has_ended(job_id)
                answer = await self._redis.xread(
                    {keys.events(job_id): after}, count=100, block=None if has_ended else block
                )
                if not answer and has_ended:
                    return
                if not answer:
                    yield None
                for event_id, fields in answer[0][1] if answer else ():
                    after = event_id
                    yield event_of(event_id, fields)
                    if fields["type"] == "state" and JobState(json.loads(fields["data"])["state"]).is_terminal:
                        return
        except redis.exceptions.RedisError as error:
            raise Unavailable(f"the queue does not answer: {error}") from error

    async def changes(self, tenant: str, job_ids: Sequence[str], *, wait_seconds: float) -> AsyncIterator[list[str]]:
        """Which of these jobs something happened to, as it does; those submitted since, too. None is an empty list.

        Answers at least every `wait_seconds`, and nothing of what happened before. Raises Unavailable.
        """
        ids = {keys.events(job_id): job_id for job_id in job_ids}
        try:
            # Not `$`: between two reads it would move on by itself.
            last = [await self._redis.xrevrange(key, count=1) for key in ids]
            after = {key: entry[0][0] if entry else "0" for key, entry in zip(ids, last, strict=True)}
            newest = await self._newest(tenant)
            while True:
                answer: list[Any] = []
                if after:
                    answer = await self._redis.xread(after, block=int(wait_seconds * 1000)) or []
                else:
                    await asyncio.sleep(wait_seconds)
                after |= {key: entries[-1][0] for key, entries in answer}
                before, newest = newest, await self._newest(tenant)
                yield [ids[key] for key, _ in answer] + [job_id for job_id in newest if job_id not in before]
        except redis.exceptions.RedisError as error:
            raise Unavailable(f"the queue does not answer: {error}") from error

    async def _newest(self, tenant: str) -> list[str]:
        found: list[str] = await self._redis.zrange(keys.jobs(tenant), 0, _NEWEST - 1, desc=True)
        return found

    async def close(self) -> None:
        await self._redis.aclose()

    async def _gap(self, job_id: str, after: str) -> Event | None:
        """A reset where events between `after` and the oldest that is kept may be missing."""
        kept = await self._redis.xrange(keys.events(job_id), count=1)
        if after == "0" or not kept:
            return None
        oldest = kept[0][0]
        # Its id lies before the oldest, so that a reader who comes back with it misses nothing that is kept.
        before = f"{int(oldest.partition('-')[0]) - 1}-0"
        if _order(after) >= _order(before):
            return None
        about = await self._redis.xinfo_stream(keys.events(job_id))
        if about["entries-added"] == about["length"]:
            return None
        return event_of(before, {"type": "reset", "data": json.dumps({"after": after, "oldest": oldest})})

    async def _has_ended(self, job_id: str) -> bool:
        state = await self._redis.hget(keys.job(job_id), "state")
        return state is None or JobState(state).is_terminal


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number or 0)
