"""A Redis Cluster with TLS, users and the access rules of docs/deploy.md."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from collector.intake.ledger import Ledger
from launch.local.embedded import free_port
from miningmap import settings as config
from miningmap.dependencies import Dependency
from miningmap.redis_access import COLLECTOR, ENDPOINT, STREAMS
from miningmap.redis_client import connect, watch
from streams.method.cells import claims_of
from streams.redis.cell_writer import Applied
from streams.redis.generations import Range, RebuildingError
from streams.redis.store import Store
from tests.conftest import launched
from tests.secure_servers import SecureRedis, redis_rules
from tests.servers import POLL_S, ServerError
from tests.streams.fixtures import NOON, report
from tests.streams.test_cluster import SPANS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from miningmap.redis_access import Access

pytestmark = pytest.mark.integration

READY_S = 20.0
PARTITION = ("topic", 0)
BATCH = [(each, claims_of(each)) for each in [report(places={"US": 5.0})]]


class SecureCluster(SecureRedis):
    """A node with all slots, which is known by its name, as its certificate needs it."""

    name = "secure-cluster"

    def start(self, *arguments: Any, **more: Any) -> None:
        super().start(*arguments, **more)
        deadline = time.monotonic() + READY_S
        with self.admin() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                if time.monotonic() > deadline:
                    raise ServerError(self.with_last_lines(f"no cluster in {READY_S:g} s"))
                time.sleep(POLL_S)

    def _command(self) -> list[str]:
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(free_port()),
            "tls-cluster": "yes",
            "cluster-announce-hostname": "localhost",
            "cluster-preferred-endpoint-type": "hostname",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        # The users come last, and an option after them would be one of their rules.
        command = super()._command()
        first_user = command.index("--user")
        return [*command[:first_user], *words, *command[first_user:]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[SecureCluster]:
    server = launched(SecureCluster)
    try:
        for name, rules in redis_rules().items():
            server.set_user(name, *rules)
        yield server
    finally:
        server.close()


def user(cluster: SecureCluster, name: str) -> config.Redis:
    return config.Redis(
        url=SecretStr(cluster.url),
        cluster=True,
        username=name,
        password=SecretStr(f"{name}-secret"),
        ca_file=cluster.authority.file,
    )


@pytest.mark.parametrize(
    ("name", "access"), [("streams", STREAMS), ("endpoint", ENDPOINT), ("collector", COLLECTOR)]
)
async def test_each_service_has_the_access_that_it_asks_for(
    cluster: SecureCluster, name: str, access: Access
) -> None:
    state = Dependency("redis")
    cluster.denied()
    watching = asyncio.create_task(watch(user(cluster, name), state, access=access))
    async with asyncio.timeout(READY_S):
        while state.reason is not None and not watching.done():  # noqa: ASYNC110 - the task does
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.wait([watching])
    assert watching.cancelled()
    assert cluster.denied() == []


async def test_the_documented_rules_are_enough(cluster: SecureCluster) -> None:
    cluster.denied()
    async with (
        connect(user(cluster, "streams")) as streams,
        connect(user(cluster, "endpoint")) as endpoint,
        connect(user(cluster, "collector")) as collector,
    ):
        written, served = (Store(client, config.Retention()) for client in (streams, endpoint))
        await written.generations.begin({PARTITION: Range(0, 1)})
        with pytest.raises(RebuildingError, match="0 of 1 messages"):
            await served.cells.read(SPANS)
        await written.writer.write(BATCH, Applied({PARTITION: Range(0, 1)}, NOON))
        await written.snapshots.write({"now/country": b"1"})
        assert await written.swings.renew_leadership("one", for_s=1)
        assert len(list((await served.cells.read(SPANS)).series())) == 1
        assert await served.snapshots.read() == {"now/country": b"1"}
        assert await served.snapshots.last_event()
        assert await written.generations.remove_unused() == 0
        ledger = Ledger(collector)
        await ledger.start_building("a", "one")
        assert await ledger.finish("a", "one", {0: 1}, hours_d=90)
        assert (await ledger.state("a")).positions == {0: 1}
    assert cluster.denied() == []
