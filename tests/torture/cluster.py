"""Three brokers, of which any two are enough: ``min.insync.replicas=2``."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from launch.local.embedded import LOOPBACK, free_port
from tests.servers import KAFKA_START_S, KafkaServer

if TYPE_CHECKING:
    from collections.abc import Sequence

BROKERS: Final = 3


class _Broker(KafkaServer):
    """One of the brokers, which is a controller too."""

    def __init__(self, folder: Path, ports: list[int], number: int, cluster: str) -> None:
        super().__init__(folder, ports)
        self.number = number
        self.voters = ""
        self._cluster = cluster

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {
            "node.id": str(self.number),
            "controller.quorum.voters": self.voters,
            "default.replication.factor": str(BROKERS),
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": str(BROKERS),
            "transaction.state.log.replication.factor": str(BROKERS),
            "transaction.state.log.min.isr": "2",
        }

    def _format(self) -> None:
        subprocess.run(
            self._java("kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster}", "-c"),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=KAFKA_START_S,
        )


class KafkaCluster:
    """The brokers together; it is used like one server.

    Attributes:
        brokers: each can be stopped and started by itself.
        bootstrap_servers: all of them.
    """

    def __init__(self, folder: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self.folder = folder
        self.brokers: Sequence[_Broker] = [
            _Broker(folder / str(number), [free_port(), free_port()], number, cluster)
            for number in range(1, BROKERS + 1)
        ]
        self.bootstrap_servers = ",".join(each.bootstrap_servers for each in self.brokers)
        voters = [f"{each.number}@{LOOPBACK}:{each.ports[1]}" for each in self.brokers]
        for broker in self.brokers:
            broker.folder.mkdir(parents=True)
            broker.voters = ",".join(voters)

    @classmethod
    def launch(cls) -> Self:
        """Start new brokers on free ports in a temporary folder, which close() removes."""
        KafkaServer.require()
        cluster = cls(Path(tempfile.mkdtemp(prefix="kafka-cluster-")))
        try:
            # At once: the first alone has no majority, so it does not respond.
            with ThreadPoolExecutor(BROKERS) as pool:
                list(pool.map(KafkaServer.start, cluster.brokers))
        except BaseException:
            cluster.close()
            raise
        return cluster

    def close(self) -> None:
        """Kill the brokers and remove their folders."""
        for broker in self.brokers:
            broker.close()
        self.folder.rmdir()
