"""Drain: the service, or one node, takes up no jobs; those that run make a checkpoint and wait in the queue again."""

import json
import time
from collections.abc import Mapping
from typing import Any

from rnncore.errors import NotFound
from services.jobqueue import keys
from services.jobqueue.scripts import RedisScripts

SERVICE = "service"


class Drains:
    """What is drained. The claim and the answers to beats heed it. Every method raises Unavailable."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def begin(self, what: str = SERVICE) -> None:
        """Drains the service, or the node with the id `what`, until `end`, over restarts; a node, until it leaves."""
        self._scripts.check_schema()
        with self._scripts.faults():
            self._redis.hsetnx(keys.DRAINED, what, int(time.time() * 1000))

    def end(self, what: str | None = None) -> None:
        """Ends one drain; None: all there are."""
        self._scripts.check_schema()
        with self._scripts.faults():
            if what is None:
                self._redis.delete(keys.DRAINED)
            else:
                self._redis.hdel(keys.DRAINED, what)

    def since(self) -> dict[str, float]:
        """SERVICE and ids of nodes that are drained, with the Unix time of each."""
        with self._scripts.faults():
            return {what: int(at) / 1000 for what, at in self._redis.hgetall(keys.DRAINED).items()}

    def told(self) -> str:
        """What is drained, for people; empty where nothing is."""
        return "; ".join(
            f"{'the service' if what == SERVICE else f'node {what[:12]}'} takes up no jobs since "
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))}; `unroll drain --off` ends that"
            for what, at in sorted(self.since().items(), key=lambda item: item[1])
        )

    def publish_nodes(self, names: Mapping[str, str]) -> None:
        """Tells which nodes have trainers: id -> host name. The drain of a node that has left ends."""
        gone = self.since().keys() - names.keys() - {SERVICE}
        with self._scripts.faults(), self._redis.pipeline() as all_at_once:
            all_at_once.delete(keys.NODES)
            if names:
                all_at_once.hset(keys.NODES, mapping=names)
            if gone:
                all_at_once.hdel(keys.DRAINED, *gone)
            all_at_once.execute()

    def nodes(self) -> dict[str, str]:
        """Id -> host name of the nodes with trainers, as the dispatcher told last."""
        with self._scripts.faults():
            named: dict[str, str] = self._redis.hgetall(keys.NODES)
        return named

    def node(self, name: str) -> str:
        """Id of the node whose host name or id (or the beginning of that) is `name`. Raises NotFound."""
        nodes = self.nodes()
        found = [node for node, host in nodes.items() if name == host or node.startswith(name)]
        if len(found) != 1:
            known = ", ".join(f"{host} ({node[:12]})" for node, host in sorted(nodes.items())) or "none"
            raise NotFound(f"{len(found)} nodes with trainers are called {name}; there are: {known}", param="node")
        return found[0]

    def at_work(self, what: str = SERVICE) -> list[str]:
        """Jobs that run on what is drained. One that has not told yet where it runs may run anywhere."""
        with self._scripts.faults():
            seconds, microseconds = self._redis.time()
            present = seconds * 1000 + microseconds // 1000
            running: list[str] = self._redis.zrangebyscore(keys.LEASES, present, "+inf")
            if what == SERVICE:
                return running
            with self._redis.pipeline(transaction=False) as asked:
                for job_id in running:
                    asked.hget(keys.job(job_id), "placement")
                placements = asked.execute()
        return [
            job_id
            for job_id, placement in zip(running, placements, strict=True)
            if placement is None or what in _nodes(json.loads(placement))
        ]


def _nodes(placement: dict[str, Any]) -> set[str]:
    return {placement["node"], *placement.get("nodes", ())}
