"""All that lies in Redis as entries that any Redis takes back: read while the service runs, written into an empty one.

What may still change is read by one script, at one moment. Ended jobs and event streams, which are most of it, follow
bit by bit: they only ever lose something, and then the reading has to be done again.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts

_JOBS_AT_ONCE = 20
_ENTRIES_AT_ONCE = 100
_VALUES_AT_ONCE = 1_000  # an even number, for they come in pairs
# More claims than a job has between a backup and the end of the service that it was made of.
_EPOCHS_SKIPPED = 1_000
_ADDS = {"hash": "HSET", "set": "SADD", "list": "RPUSH", "zset": "ZADD"}


class Vanished(Exception):
    """Something was deleted while it was read."""


class Entry(NamedTuple):
    """One key, without the prefix. `expires_at` in Unix milliseconds, 0: never.

    `values` as Redis lists them: names and values, members and scores; of a stream its last id, the number of entries
    it ever had, then ids and fields as JSON.
    """

    key: str
    kind: str
    expires_at: int
    values: list[str]

    def to_line(self) -> bytes:
        """As one line of JSON."""
        return json.dumps(self).encode() + b"\n"


def dump(scripts: RedisScripts) -> Iterator[Entry]:
    """Everything at one moment, `ended` before the ended jobs. Raises Vanished: begin again."""
    ended: Sequence[str] = ()
    for key, kind, expires_at, values in scripts.run("dump"):
        if kind == "stream":
            yield Entry(key, kind, 0, [*values, *_stream(scripts, key, last=values[0])])
            continue
        if key == "ended":
            ended = values[::2]
        yield Entry(key, kind, expires_at, values)
    for start in range(0, len(ended), _JOBS_AT_ONCE):
        yield from _ended_jobs(scripts, ended[start : start + _JOBS_AT_ONCE])


def load(scripts: RedisScripts, entries: Iterable[Entry]) -> None:
    """Writes entries into an empty Redis. Jobs that were running are then still to be put back, by `put_back`."""
    rest = iter(entries)
    while page := list(islice(rest, _ENTRIES_AT_ONCE)):
        with scripts.faults(), scripts.redis.pipeline(transaction=False) as to_write:
            for entry in page:
                _write(to_write, entry)
            to_write.execute()


def put_back(scripts: RedisScripts, job_ids: Iterable[str]) -> None:
    """Ends the claims of unfinished jobs that were loaded: no trainer of before can write, and they can be claimed."""
    for job_id in job_ids:
        scripts.run("restored", job_id, _EPOCHS_SKIPPED)


def clear(scripts: RedisScripts) -> None:
    """Deletes all that `load` may have written."""
    with scripts.faults():
        for key in scripts.redis.scan_iter(match=f"{keys.PREFIX}*", count=1000):
            scripts.redis.delete(key)


def is_empty(scripts: RedisScripts) -> bool:
    """Whether nothing lies in Redis but what says for whom it is, and that nothing is to start."""
    with scripts.faults():
        found = set(scripts.redis.scan_iter(match=f"{keys.PREFIX}*", count=1000))
    return found <= {keys.SCHEMA, keys.DRAINED}


def _stream(scripts: RedisScripts, key: str, *, last: str) -> Iterator[str]:
    with scripts.faults():
        found = scripts.redis.xrange(f"{keys.PREFIX}{key}", max=last)
    if not found:
        raise Vanished(key)
    for event_id, fields in found:
        yield event_id
        yield json.dumps(fields)


def _ended_jobs(scripts: RedisScripts, ids: Sequence[str]) -> Iterator[Entry]:
    names = [(f"job:{job_id}", f"checkpoints:{job_id}", f"events:{job_id}") for job_id in ids]
    with scripts.faults(), scripts.redis.pipeline() as asked:
        for job, checkpoints, events in names:
            asked.hgetall(keys.PREFIX + job)
            asked.hgetall(keys.PREFIX + checkpoints)
            asked.xinfo_stream(keys.PREFIX + events)
            asked.xrange(keys.PREFIX + events)
        answers = iter(asked.execute(raise_on_error=False))
    for (job, checkpoints, events), *found in zip(names, answers, answers, answers, answers, strict=True):
        record, published, about, entries = found
        if not record or not entries:
            raise Vanished(job)
        yield Entry(job, "hash", 0, _flat(record.items()))
        if published:
            yield Entry(checkpoints, "hash", 0, _flat(published.items()))
        ids_and_fields = ((event_id, json.dumps(fields)) for event_id, fields in entries)
        head = [about["last-generated-id"], str(about["entries-added"])]
        yield Entry(events, "stream", 0, head + _flat(ids_and_fields))


def _write(to_write: Any, entry: Entry) -> None:
    key, values = keys.PREFIX + entry.key, entry.values
    if entry.kind == "string":
        to_write.set(key, values[0])
    elif entry.kind == "stream":
        last, added, *entries = values
        for event_id, fields in zip(entries[::2], entries[1::2], strict=True):
            to_write.xadd(key, json.loads(fields), id=event_id)
        to_write.execute_command("XSETID", key, last, "ENTRIESADDED", added)
    else:
        if entry.kind == "zset":
            values = _flat(zip(values[1::2], values[::2], strict=True))
        for start in range(0, len(values), _VALUES_AT_ONCE):
            to_write.execute_command(_ADDS[entry.kind], key, *values[start : start + _VALUES_AT_ONCE])
    if entry.expires_at:
        to_write.pexpireat(key, entry.expires_at)


def _flat(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [value for pair in pairs for value in pair]
