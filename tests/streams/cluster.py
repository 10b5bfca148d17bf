"""A real Redis Cluster of one node, which rejects commands that touch more than one slot."""

from __future__ import annotations

import time
from typing import Any

import redis

from tests.servers import POLL_S, RedisServer, ServerError

READY_S = 20.0
LAST_SLOT = 16383


class RedisCluster(RedisServer):
    """A node with all slots. ``CROSSSLOT`` is checked before a command is sent on to any node."""

    name = "redis-cluster"

    def start(self, *arguments: Any, **more: Any) -> None:
        """Blocks until the cluster serves all slots."""
        super().start(*arguments, **more)
        with redis.Redis.from_url(self.url) as client:
            if not client.execute_command("CLUSTER SLOTS"):
                client.execute_command("CLUSTER ADDSLOTSRANGE", 0, LAST_SLOT)
            deadline = time.monotonic() + READY_S
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                if time.monotonic() > deadline:
                    raise ServerError(self.with_last_lines(f"no cluster in {READY_S:g} s"))
                time.sleep(POLL_S)

    def _command(self) -> list[str]:
        # The default bus port, the port plus 10,000, may be in use or out of range.
        bus = str(self.ports[1])
        return [*super()._command(), "--cluster-enabled", "yes", "--cluster-port", bus]
