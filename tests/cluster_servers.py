"""A real Redis Cluster of three nodes, whose slots can be moved while it is used."""

from __future__ import annotations

import shutil
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, cast

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from launch.local.embedded import LOOPBACK
from tests.servers import POLL_S, RedisServer, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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

    def copy_of_log(self) -> Path:
        """A copy of its append-only file as it is now."""
        copy = self.folder / "copied-log"
        shutil.copytree(self.folder / "appendonlydir", copy)
        return copy

    def return_to(self, copy: Path) -> None:
        """End as if the power failed, with the log as it was when it was copied."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder / "appendonlydir")
        copy.rename(self.folder / "appendonlydir")

    def _command(self) -> list[str]:
        # The default bus port, the port plus 10,000, may be in use or out of range.
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(self.ports[1]),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "appendonly": "yes",
            "repl-diskless-sync-delay": "0",
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
        _wait(self.nodes[0], lambda: all(_is_ok(node, len(self.nodes)) for node in self.nodes))

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

    def add_replica(self, primary: ClusterNode) -> ClusterNode:
        """Add a node that follows another one, and takes its place when it is lost."""
        replica = ClusterNode.launch()
        self.nodes.append(replica)
        with replica.client() as client:
            client.execute_command("CLUSTER MEET", LOOPBACK, *primary.ports)
            _wait(replica, lambda: _knows(client, primary))
            client.execute_command("CLUSTER REPLICATE", primary.id)
            _wait(replica, lambda: client.info("replication").get("master_link_status") == "up")
        self.wait_until_ok()  # the others have to know it before it can take a place
        return replica

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
        _wait(target, lambda: self.owner(slot) is target)


def _wait(node: ClusterNode, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError(node.with_last_lines(f"is not as it should be after {READY_S:g} s"))
        time.sleep(POLL_S)


def _knows(client: redis.Redis, node: ClusterNode) -> bool:
    return node.id in str(client.execute_command("CLUSTER NODES"))  # type: ignore[no-untyped-call]


def _is_ok(node: ClusterNode, nodes: int) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
    known, state = int(info["cluster_known_nodes"]), info["cluster_state"]
    return known == nodes and state == "ok"
