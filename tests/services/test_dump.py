"""What of Redis a backup leaves out: what processes that run say anew, and what is over within a minute."""

from services.jobqueue import keys
from services.jobqueue.dump import dump, is_empty
from services.jobqueue.scripts import RedisScripts

PASSING = ("bell", "capacity", "drained", "nodes", "reserved", "claim:1", "rate:1", "try:1", "filling:1", "workers:1")


def test_what_is_said_anew_is_left_out(scripts: RedisScripts) -> None:
    scripts.check_schema()
    assert scripts.redis.exists(keys.SCHEMA)
    for name in (*PASSING, "limits"):
        scripts.redis.set(f"{keys.PREFIX}{name}", "x")
    assert [entry.key for entry in dump(scripts)] == ["limits"]


def test_service_that_is_drained_before_its_first_start_is_empty(scripts: RedisScripts) -> None:
    scripts.check_schema()
    scripts.redis.hset(keys.DRAINED, "service", 1)
    assert is_empty(scripts)
    scripts.redis.set(f"{keys.PREFIX}limits", "x")
    assert not is_empty(scripts)
