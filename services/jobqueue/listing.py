"""A tenant's jobs as a table to look through: sorted, filtered, by pages. Knows no page and no HTTP.

Of every job only what a filter or an order asks for is read; whole records only of the page that is shown.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

from services.jobqueue import keys
from services.jobqueue.queue import JobQueue
from services.jobqueue.records import JobRecord, JobState
from services.jobqueue.scripts import RedisScripts

MOST_SEARCHED = 10_000
"""Newest jobs that are looked through; older ones are found by their id alone."""
Order = Literal["age", "state", "name", "progress", "best", "speed", "network", "dataset"]
_STATES = {state.value: state for state in JobState}
_ORDER_OF_STATES = {state: number for number, state in enumerate(JobState)}
# Which part of a job each order needs, besides its state.
_PART_OF_ORDER = {
    "name": "spec",
    "network": "spec",
    "dataset": "spec",
    "progress": "progress",
    "speed": "progress",
    "best": "best",
}


class JobQuery(NamedTuple):
    """What is looked for. `text` stands in a name, an id, or words like `lstm 256x2`; `page` counts from 1."""

    state: JobState | None = None
    text: str = ""
    metadata: tuple[str, str] | None = None
    sweep: str = ""
    order: Order = "age"
    is_reversed: bool = False
    page: int = 1
    size: int = 50


class Listing(NamedTuple):
    """One page of what was found. `states` counts all that would be, whatever their state; `num_all` every job."""

    jobs: list[JobRecord]
    num_found: int
    states: Mapping[JobState, int]
    num_all: int


class _Row:
    """What is known of one job before its record is read; a part that cannot be read is not there."""

    def __init__(self, job_id: str, fields: Mapping[str, str | None]) -> None:
        self.id = job_id
        self.state = _STATES.get(fields["state"] or "", JobState.FAILED)
        self._fields = fields

    @property
    def sweep(self) -> str | None:
        return self._fields["sweep"]

    @cached_property
    def spec(self) -> dict[str, Any]:
        return _object(self._fields["spec"])

    @property
    def name(self) -> str:
        return str(self.spec.get("name") or self.id)

    @property
    def dataset(self) -> str:
        return str(self.spec.get("dataset", ""))

    @property
    def network(self) -> str:
        model = self.spec.get("model", {})
        return "{} {}x{}".format(*(model.get(part, "") for part in ("cell", "hidden_size", "num_layers")))

    def number(self, part: Literal["progress", "best"], name: str) -> float | None:
        value = _object(self._fields[part]).get(name)
        return float(value) if isinstance(value, int | float) else None


class JobListing:
    """Looks through the jobs of a tenant. Its methods raise Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts, queue: JobQueue) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._queue = queue

    def find(self, tenant: str, query: JobQuery) -> Listing:
        """The page of `query`; one behind the last is empty."""
        with self._scripts.faults():
            num_all: int = self._redis.zcard(keys.jobs(tenant))
        rows = [row for row in self._rows(tenant, _parts_for(query)) if _matches(row, query)]
        states = Counter(row.state for row in rows)
        found = [row for row in rows if query.state in (None, row.state)]
        ordered = self._ordered(found, query)
        first = (query.page - 1) * query.size
        jobs = self._queue.records(tenant, [row.id for row in ordered[first : first + query.size]])
        return Listing(jobs, len(found), states, num_all)

    def names_of_datasets(self, ids: Iterable[str]) -> dict[str, str]:
        """Names of those of these data sets that are there and have one."""
        wanted = sorted(set(ids))
        with self._scripts.faults(), self._redis.pipeline(transaction=False) as asked:
            for dataset_id in wanted:
                asked.hget(keys.dataset(dataset_id), "record")
            records = [_object(raw).get("dataset", {}) for raw in asked.execute()]
        return {
            dataset_id: about["name"] for dataset_id, about in zip(wanted, records, strict=True) if about.get("name")
        }

    def _rows(self, tenant: str, parts: Sequence[str]) -> list[_Row]:
        """Newest first, in one command: asked job by job, a thousand take Redis's client ten times as long."""
        patterns = ["#", *(f"{keys.job('*')}->{part}" for part in parts)]
        with self._scripts.faults():
            found = self._redis.sort(
                keys.jobs(tenant), by="nosort", get=patterns, desc=True, start=0, num=MOST_SEARCHED, groups=True
            )
        return [_Row(job_id, dict(zip(parts, values, strict=True))) for job_id, *values in found]

    def _ordered(self, rows: list[_Row], query: JobQuery) -> list[_Row]:
        """Rows come newest first; those that have no value to sort by go last either way."""
        if query.order == "age":
            return rows[::-1] if query.is_reversed else rows
        if query.order == "dataset":
            names = self.names_of_datasets(row.dataset for row in rows)
            values: list[Any] = [names.get(row.dataset) for row in rows]
        else:
            values = [_VALUES[query.order](row) for row in rows]
        known = [(value, row) for value, row in zip(values, rows, strict=True) if value is not None]
        known.sort(key=lambda pair: pair[0], reverse=query.is_reversed)
        return [row for _, row in known] + [row for value, row in zip(values, rows, strict=True) if value is None]


_VALUES: Mapping[str, Callable[[_Row], Any]] = {
    "state": lambda row: _ORDER_OF_STATES[row.state],
    "name": lambda row: row.name.casefold(),
    "network": lambda row: row.network,
    "progress": lambda row: row.number("progress", "ratio"),
    "speed": lambda row: row.number("progress", "characters_per_second") if row.state == JobState.RUNNING else None,
    "best": lambda row: row.number("best", "validation_loss"),
}


def _parts_for(query: JobQuery) -> list[str]:
    """What has to be read of every job."""
    parts = {"state"}
    if query.sweep:
        parts.add("sweep")
    if query.text or query.metadata:
        parts.add("spec")
    if part := _PART_OF_ORDER.get(query.order):
        parts.add(part)
    return sorted(parts)


def _matches(row: _Row, query: JobQuery) -> bool:
    if query.sweep and row.sweep != query.sweep:
        return False
    if query.metadata and row.spec.get("metadata", {}).get(query.metadata[0]) != query.metadata[1]:
        return False
    wanted = query.text.casefold()
    return not wanted or any(wanted in text.casefold() for text in (row.name, row.id, row.network))


def _object(raw: str | None) -> dict[str, Any]:
    """The JSON object in `raw`; an empty one where there is none. The record itself tells of what was altered."""
    try:
        found = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
