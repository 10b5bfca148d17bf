"""A real Redis Cluster of three nodes, whose slots can be moved while it is used."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, cast

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from launch.local.embedded import LOOPBACK
from tests.servers import POLL_S, RedisServer, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODES: Final = 3
READY_S: Final = 30.0
NODE_TIMEOUT_MS: Final = 1000
"""After how long nodes call another one failed."""
MOVED_AT_ONCE: Final = 10
MOVED_WITHIN_MS: Final = 5000


class ClusterNode(RedisServer):
    """A node, which persists what it has acknowledged."""

    name = "redis-node"

    @classmethod
    def launch(cls) -> Self:
        node = super().launch()
        with node.client() as client:
            node.id = cast("bytes", client.execute_command("CLUSTER MYID")).decode()
        return node

    id: str

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def _command(self) -> list[str]:
        # The default bus port, the port plus 10,000, may be in use or out of range.
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(self.ports[1]),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "appendonly": "yes",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [*super()._command(), *words]


class RedisClusterServers:
    """Three nodes, each with a third of the slots."""

    def __init__(self, nodes: list[ClusterNode]) -> None:
        self.nodes = nodes
        self.url = nodes[0].url

    @classmethod
    def require(cls) -> None:
        ClusterNode.require()

    @classmethod
    def launch(cls) -> Self:
        """Start three nodes in temporary folders, and join them."""
        cluster = cls([ClusterNode.launch() for _ in range(NODES)])
        try:
            limits = [REDIS_CLUSTER_HASH_SLOTS * n // NODES for n in range(NODES + 1)]
            for node, first, after in zip(cluster.nodes, limits[:-1], limits[1:], strict=True):
                with node.client() as client:
                    client.execute_command("CLUSTER ADDSLOTSRANGE", first, after - 1)
                    client.execute_command("CLUSTER MEET", LOOPBACK, *cluster.nodes[0].ports)
            cluster.wait_until_ok()
        except BaseException:
            cluster.close()
            raise
        return cluster

    def wait_until_ok(self) -> None:
        """Wait until each node knows all others, and that all slots are served."""
        deadline = time.monotonic() + READY_S
        while not all(map(_is_ok, self.nodes)):
            if time.monotonic() > deadline:
                raise ServerError(self.nodes[0].with_last_lines(f"no cluster in {READY_S:g} s"))
            time.sleep(POLL_S)

    def start(self) -> None:
        """Start the nodes that do not run."""
        for node in self.nodes:
            if not node.running:
                node.start()
        self.wait_until_ok()

    @property
    def running(self) -> bool:
        return all(node.running for node in self.nodes)

    def flush(self) -> None:
        """Delete all keys."""
        for node in self.nodes:
            node.flush()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    # --- slots ---

    def owner(self, slot: int) -> ClusterNode:
        """The node that has a slot, as the first node sees it."""
        with self.nodes[0].client() as client:
            ranges = client.execute_command("CLUSTER SLOTS")
        (port,) = (node[1] for first, last, node, *_ in ranges if first <= slot <= last)
        return next(node for node in self.nodes if node.ports[0] == port)

    def other(self, node: ClusterNode) -> ClusterNode:
        """The node after another one."""
        return self.nodes[(self.nodes.index(node) + 1) % NODES]

    @contextmanager
    def moving(self, key: str) -> Iterator[Callable[..., int]]:
        """Move the slot of a key to another node, as ``redis-cli --cluster reshard`` does.

        Yields:
            A function that moves one more of the keys, or as many as it is told, and returns how
            many it has moved. The rest is moved at the end of the block.
        """
        slot = key_slot(key.encode())
        source = self.owner(slot)
        target = self.other(source)
        with source.client() as old, target.client() as new:
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target.id)

            def move_some(most: int = 1) -> int:
                keys = old.execute_command("CLUSTER GETKEYSINSLOT", slot, most)
                if keys:
                    where = (LOOPBACK, target.ports[0], "", 0, MOVED_WITHIN_MS)
                    old.execute_command("MIGRATE", *where, "KEYS", *keys)
                return len(keys)

            yield move_some
            while move_some(MOVED_AT_ONCE):
                pass
            for client in (new, old):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", target.id)
        self._wait_for_owner(slot, target)

    def _wait_for_owner(self, slot: int, node: ClusterNode) -> None:
        deadline = time.monotonic() + READY_S
        while self.owner(slot) is not node:
            if time.monotonic() > deadline:
                raise ServerError(node.with_last_lines(f"does not get slot {slot}"))
            time.sleep(POLL_S)


def _is_ok(node: ClusterNode) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
    known, state = int(info["cluster_known_nodes"]), info["cluster_state"]
    return known == NODES and state == "ok"
