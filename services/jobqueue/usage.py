"""What each tenant has used, by day: characters and worker time as the scripts count them, tokens as sampled."""

import datetime as dt
from collections import Counter

from pydantic import BaseModel, Field

from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts

_EPOCH = dt.date(1970, 1, 1)


class Amounts(BaseModel):
    """What was used in some time."""

    characters_trained: int = Field(0, description="Symbols (or steps of a sequence) that optimizer steps read.")
    training_steps: int = 0
    worker_seconds: float = Field(0.0, description="Time that workers were held, summed over workers.")
    tokens_sampled: int = 0


class DayUsage(Amounts):
    """One day, UTC."""

    date: dt.date


class Usage(BaseModel):
    """What a tenant used from `start` to `end`, both included; days without any are left out."""

    object: str = "usage"
    tenant: str
    start: dt.date
    end: dt.date
    stored_bytes: int = Field(description="Bytes that its data sets and checkpoints have in storage now.")
    total: Amounts
    days: list[DayUsage]


class UsageLedger:
    """Reads the counts, and adds what no script sees. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts

    def add_tokens(self, tenant: str, number: int) -> None:
        """Tokens that were sampled for `tenant` just now."""
        day = (dt.datetime.now(dt.UTC).date() - _EPOCH).days
        with self._scripts.faults():
            self._scripts.redis.hincrby(keys.usage(tenant), f"{day}:tokens", number)

    def read(self, tenant: str, start: dt.date, end: dt.date) -> Usage:
        """What `tenant` used from `start` to `end`."""
        with self._scripts.faults():
            counted = self._scripts.redis.hgetall(keys.usage(tenant))
            stored = int(self._scripts.redis.hget(keys.STORED, tenant) or 0)
        by_day: dict[dt.date, Counter[str]] = {}
        for name, amount in counted.items():
            day, _, what = name.partition(":")
            date = _EPOCH + dt.timedelta(days=int(day))
            if start <= date <= end:
                by_day.setdefault(date, Counter())[what] = int(amount)
        total = sum(by_day.values(), Counter())
        days = [DayUsage(date=date, **_amounts(by_day[date]).model_dump()) for date in sorted(by_day)]
        return Usage(tenant=tenant, start=start, end=end, stored_bytes=stored, total=_amounts(total), days=days)


def _amounts(counted: "Counter[str]") -> Amounts:
    return Amounts(
        characters_trained=counted["characters"],
        training_steps=counted["steps"],
        worker_seconds=counted["worker_ms"] / 1000,
        tokens_sampled=counted["tokens"],
    )
